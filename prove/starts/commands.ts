/** The whole command, started many times at once: one export runs, all others end with 7 and say which process it is. */
import { spawn, type ChildProcess } from "node:child_process";
import { mkdir, readdir, writeFile } from "node:fs/promises";
import { join } from "node:path";

const command = join(import.meta.dirname, "../..", "bin", "spillway.js");
const busyCode = 7;

interface Started {
  readonly child: ChildProcess;
  readonly ended: Promise<{ readonly code: number | null; readonly error: string }>;
}

/** @returns what was wrong, or undefined; `home` is a folder of its own */
export async function startCommands(home: string, starts: number): Promise<string | undefined> {
  const yaml = await writePipeline(home);
  const running = new Set<Started>();
  const start = (stuck: boolean): Started => {
    const started = startOne(yaml, home, stuck);
    running.add(started);
    void started.ended.then(() => running.delete(started));
    return started;
  };
  const all = Array.from({ length: starts }, () => start(true));
  // All but one end by themselves.
  while (running.size > 1) await Promise.race([...running].map(({ ended }) => ended));
  const [holder] = running;
  if (!holder) return "none runs";
  const named = `(process ${holder.child.pid})`;
  const refused = async (others: readonly Started[]): Promise<string | undefined> => {
    for (const { ended } of others) {
      const { code, error } = await ended;
      if (code !== busyCode || !error.includes(named)) return `one ended with ${code}: ${error}`;
    }
    return undefined;
  };
  try {
    const failure = await refused(all.filter((one) => one !== holder));
    if (failure) return failure;
    holder.child.kill("SIGSTOP");
    const held = await refused([start(false)]);
    if (held) return `while its holder was stopped, ${held}`;
  } finally {
    holder.child.kill("SIGKILL");
    await holder.ended;
  }
  const { code, error } = await start(false).ended;
  if (code !== 0) return `after its holder was killed, the next ended with ${code}: ${error}`;
  const exports = await readdir(join(home, "out", "starts"));
  return exports.length === 1 ? undefined : `there are ${exports.length} exports`;
}

async function writePipeline(home: string): Promise<string> {
  await mkdir(home, { recursive: true });
  const rows = Array.from({ length: 100 }, (_, id) => `${JSON.stringify({ id })}\n`).join("");
  await writeFile(join(home, "rows.ndjson"), rows);
  const slow = "(row) => (process.env.STUCK ? new Promise(() => setInterval(() => {}, 1e6)) : row)";
  await writeFile(join(home, "slow.mjs"), `export default ${slow};\n`);
  const stages = [
    { ndjson: "rows.ndjson" },
    { map: "./slow.mjs" },
    { serialize: "ndjson" },
    { chunk: "4KiB" },
    { compress: "zstd" },
    { encrypt: "none" },
    { spool: "./spool" },
    { upload: "./out" },
  ];
  const yaml = join(home, "starts.yaml");
  await writeFile(yaml, JSON.stringify({ name: "starts", stages }));
  return yaml;
}

function startOne(yaml: string, home: string, stuck: boolean): Started {
  const child = spawn(process.execPath, [command, "run", yaml, "--quiet"], {
    stdio: ["ignore", "ignore", "pipe"],
    env: { ...process.env, XDG_STATE_HOME: join(home, "state"), ...(stuck && { STUCK: "1" }) },
  });
  let error = "";
  child.stderr.on("data", (text: Buffer) => (error += text.toString()));
  const ended = new Promise<{ code: number | null; error: string }>((resolve) =>
    child.on("close", (code) => resolve({ code, error: error.trim() })),
  );
  return { child, ended };
}

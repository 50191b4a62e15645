/**
 * Proves that an export of 1 GB runs to its end where the kernel gives it 128 MiB of memory and no swap.
 *
 *   npm run prove:cgroup [-- --rows 3700000]
 *
 * The whole command, telemetry on, in a memory cgroup; the server and the collector are outside. All the kernel charges to a
 * group counts: heap, buffers, the pages of Node's own file (a copy that nobody has read before), and the files it writes,
 * which the kernel may take back when they are on the disk. A program that takes more than the limit goes first and must be killed,
 * or the limit would prove nothing.
 *
 * Exit: 0 proved · 1 disproved · 2 not possible on this machine.
 */
import { execFile, spawn } from "node:child_process";
import { copyFile, mkdtemp, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { parseArgs, promisify } from "node:util";
import { bin, buildWhenChanged, ndjsonOf, writeJob } from "../bench/job.ts";
import { openServer } from "../bench/server.ts";
import { createTable, gigabyteRows } from "../bench/tables.ts";
import type { RunSummary } from "../src/pipeline/summary.ts";
import { formatBytes } from "../src/stages/atoms.ts";
import { createKey } from "../test/fixtures/keys.ts";
import { startOtlpReceiver } from "../test/servers/otlp-receiver.ts";
import { createMemoryCgroup, type CgroupEvents } from "./memory-cgroup.ts";

const limitBytes = 128 * 2 ** 20;

interface Outcome extends CgroupEvents {
  readonly exit: string;
}

/** Runs a script in a group of its own. */
async function runLimited(script: string, env: NodeJS.ProcessEnv): Promise<Outcome> {
  const group = await createMemoryCgroup(limitBytes);
  if (typeof group === "string") throw new NotHere(group);
  try {
    const child = spawn("bash", ["-c", `${group.enter} && exec ${script}`], {
      stdio: ["ignore", "ignore", "inherit"],
      env: { ...process.env, ...env },
    });
    const exit = await new Promise<string>((resolve) =>
      child.on("close", (code, signal) => resolve(String(signal ?? code))),
    );
    return { exit, ...(await group.events()) };
  } finally {
    await group.remove();
  }
}

class NotHere extends Error {}

/** Copied, and put out of the kernel's cache, so that its pages are charged to the group that reads them. */
async function copyNode(folder: string): Promise<string> {
  const node = join(folder, "node");
  await copyFile(process.execPath, node);
  await promisify(execFile)("sync", [node]);
  await promisify(execFile)("dd", [`if=${node}`, "iflag=nocache", "count=0"]);
  return node;
}

async function prove(rows: number): Promise<readonly string[]> {
  const folder = await mkdtemp(join(tmpdir(), "spillway-cgroup-"));
  const env = { XDG_STATE_HOME: join(folder, "state") };
  try {
    const hog = "const held = []; for (;;) held.push(Buffer.alloc(2 ** 20, 1));";
    const control = await runLimited(`${process.execPath} -e '${hog}'`, env);
    tell("a program without end", control);
    if (control.exit !== "SIGKILL" || !(control.oomKills > 0))
      return [`the limit does not bite: a program without end ended with ${control.exit}`];

    const server = await openServer();
    const receiver = await startOtlpReceiver();
    try {
      await createTable(server.url, { name: "results", rows });
      const { recipient } = await createKey();
      const records = ndjsonOf(server.url, "select * from results");
      const telemetry = { otlp: receiver.url };
      const job = await writeJob(folder, { name: "cgroup", records, to: recipient, telemetry });
      const node = await copyNode(folder);
      const command = `${node} ${bin} run ${job.yaml} --json --quiet > ${job.summary}`;
      const outcome = await runLimited(command, env);
      tell("the export", outcome);
      if (outcome.exit !== "0") return [`the export ended with ${outcome.exit}; expected 0`];
      const summary = JSON.parse(await readFile(job.summary, "utf8")) as RunSummary;
      process.stdout.write(
        `${summary.rows} rows, ${formatBytes(summary.bytesIn)} in ${summary.seconds.toFixed(1)} s, ` +
          `peak RSS ${formatBytes(summary.peakRssBytes)}\n`,
      );
      return findings(outcome, summary, rows, receiver.spans.length);
    } finally {
      await server.stop();
      await receiver.close();
    }
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}

/** Everything that must hold and does not. */
function findings(outcome: Outcome, summary: RunSummary, rows: number, spans: number): string[] {
  const found: string[] = [];
  if (outcome.oomKills !== 0) found.push(`${outcome.oomKills} kills for want of memory`);
  if (summary.state !== "committed") found.push(`the run is ${summary.state}, not committed`);
  if (summary.rows !== rows) found.push(`${summary.rows} of ${rows} rows were exported`);
  // Four a page: without them telemetry was not on.
  if (spans < 4 * summary.pages)
    found.push(`only ${spans} spans of ${summary.pages} pages arrived`);
  // A process that was never in the group would leave no trace there.
  if (!(outcome.peakBytes >= 2 ** 25)) found.push(`the group held ${outcome.peakBytes} bytes only`);
  return found;
}

function tell(what: string, { exit, oomKills, peakBytes }: Outcome): void {
  process.stdout.write(
    `${what}: exit ${exit}, ${oomKills} kills for want of memory, ` +
      `at most ${formatBytes(peakBytes)} with cached files\n`,
  );
}

const { values } = parseArgs({
  options: { rows: { type: "string", default: String(gigabyteRows.results) } },
});
buildWhenChanged();
try {
  const found = await prove(Number(values.rows));
  for (const finding of found) process.stdout.write(`${finding}\n`);
  const verdict = found.length === 0 ? "proved" : "disproved";
  process.stdout.write(`${verdict}: in a cgroup of ${formatBytes(limitBytes)} without swap\n`);
  process.exitCode = found.length === 0 ? 0 : 1;
} catch (error) {
  if (!(error instanceof NotHere)) throw error;
  process.stderr.write(
    `${error.message}; run this as root, or on a machine with systemd as ` +
      "`systemd-run --user --scope npm run prove:cgroup`\n",
  );
  process.exitCode = 2;
}

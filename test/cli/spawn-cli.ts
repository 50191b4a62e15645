/** The real command line as a process, in a folder of its own, away from the user's keys. */
import { spawn, type ChildProcess } from "node:child_process";
import { once } from "node:events";
import { existsSync } from "node:fs";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { fileURLToPath } from "node:url";

export const cliPath = fileURLToPath(new URL("../../bin/spillway.js", import.meta.url));

export interface Ended {
  readonly code: number | null;
  readonly stdout: string;
  readonly stderr: string;
}

export interface Started {
  readonly child: ChildProcess;
  readonly ended: Promise<Ended>;
  /** What standard error holds so far. */
  stderr(): string;
}

export interface Desk {
  readonly folder: string;
  /** Writes a file into the folder; gives its name. */
  write(name: string, text: string): Promise<string>;
  start(args: readonly string[], env?: Readonly<Record<string, string>>): Started;
  cli(args: readonly string[], env?: Readonly<Record<string, string>>): Promise<Ended>;
  /** The one document that a call with `--json` prints. */
  json(args: readonly string[], env?: Readonly<Record<string, string>>): Promise<JsonEnded>;
  /** Resolves when the file or folder is there. */
  until(name: string): Promise<void>;
  remove(): Promise<void>;
}

export interface JsonEnded extends Ended {
  // What a document holds is the test's to say.
  readonly document: ReturnType<typeof JSON.parse>;
}

/** A folder to call the command line in. */
export async function openDesk(): Promise<Desk> {
  const folder = await mkdtemp(join(tmpdir(), "spillway-cli-"));
  const base = { PATH: process.env["PATH"], HOME: folder, XDG_STATE_HOME: join(folder, "state") };
  const start: Desk["start"] = (args, env = {}) => {
    const child = spawn(process.execPath, [cliPath, ...args], {
      cwd: folder,
      env: { ...base, ...env },
      stdio: ["ignore", "pipe", "pipe"],
    });
    let stdout = "";
    let stderr = "";
    child.stdout.on("data", (text: Buffer) => (stdout += text.toString()));
    child.stderr.on("data", (text: Buffer) => (stderr += text.toString()));
    const ended = once(child, "close").then(([code]) => ({
      code: code as number | null,
      stdout,
      stderr,
    }));
    return { child, ended, stderr: () => stderr };
  };
  const cli: Desk["cli"] = (args, env) => start(args, env).ended;
  return {
    folder,
    start,
    cli,
    async json(args, env) {
      const ended = await cli([...args, "--json"], env);
      return { ...ended, document: JSON.parse(ended.stdout) };
    },
    async write(name, text) {
      await writeFile(join(folder, name), text);
      return name;
    },
    async until(name) {
      for (let tries = 0; !existsSync(join(folder, name)); tries += 1) {
        if (tries === 300) throw new Error(`${name} did not appear`);
        await sleep(50);
      }
    },
    remove: () => rm(folder, { recursive: true, force: true }),
  };
}

/** NDJSON of `count` rows. */
export const rowsText = (count: number): string =>
  Array.from({ length: count }, (_, id) => `${JSON.stringify({ id, note: `row ${id}` })}\n`).join(
    "",
  );

/** A pipeline from rows.ndjson to ./out; further stages stand behind the source. */
export const pipelineText = (
  options: { encrypt?: string; stages?: readonly string[]; name?: string; memory?: string } = {},
): string =>
  [
    `name: ${options.name ?? "rows"}`,
    `memory: ${options.memory ?? "128MiB"}`,
    "stages:",
    "  - ndjson: rows.ndjson",
    ...(options.stages ?? []).map((stage) => `  - ${stage}`),
    "  - serialize: ndjson",
    "  - chunk: 4KiB",
    "  - compress: zstd",
    `  - encrypt: ${options.encrypt ?? "none"}`,
    "  - spool: ./spool",
    "  - upload: ./out",
    "",
  ].join("\n");

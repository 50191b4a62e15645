/**
 * Proves that kill -9 at any time loses, doubles and damages nothing: the whole command, a real PostgreSQL, many trials.
 *
 *   npm run prove:kills -- --trials 200 --seed 7
 *
 * A trial runs the command and kills it at a random moment, up to three times in a row, then runs it to its end. The
 * oracle is the table itself: the restored rows must be what `row_to_json` prints, byte for byte and in order.
 */
import { spawn } from "node:child_process";
import { createHash } from "node:crypto";
import { mkdir, mkdtemp, readdir, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Writable } from "node:stream";
import { parseArgs } from "node:util";
import { startPostgres } from "../src/cli/demo-postgres.ts";
import { verifyExport } from "../src/readback/verify.ts";
import { restoreExport } from "../src/readback/restore.ts";
import { createKey } from "./keys.ts";
import { seededRandom } from "./seeded.ts";
import { createTable, tableDigest } from "./oracle.ts";

export interface KillTrials {
  readonly trials: number;
  readonly seed: number;
  readonly rows: number;
  readonly onTrial?: (line: string) => void;
}

export interface KillReport {
  readonly trials: number;
  readonly kills: number;
  readonly failures: readonly string[];
  readonly seed: number;
}

const command = join(import.meta.dirname, "..", "bin", "spillway.js");
const killsMost = 3;

/** Runs the trials one after another on one table; gives every failure with what was found. */
export async function proveKills({ trials, seed, rows, onTrial }: KillTrials): Promise<KillReport> {
  const folder = await mkdtemp(join(tmpdir(), "spillway-kills-"));
  const server = await startPostgres();
  try {
    await createTable(server.url, rows, seed);
    const key = await createKey();
    const expected = await tableDigest(server.url);
    const random = seededRandom(seed);
    const golden = await measureRun(folder, server.url, key.recipient);
    const failures: string[] = [];
    let kills = 0;
    for (let trial = 0; trial < trials; trial += 1) {
      const home = join(folder, `trial-${trial}`);
      const moments = Array.from(
        { length: 1 + Math.floor(random() * killsMost) },
        () => random() * golden * 1.1,
      );
      const outcome = await runTrial({ home, url: server.url, key, moments, expected }).catch(
        String,
      );
      kills += moments.length;
      if (outcome !== undefined) failures.push(`trial ${trial}: ${outcome}`);
      onTrial?.(
        `trial ${trial}: ${outcome ?? "whole"} after kills at ${moments.map((at) => `${Math.round(at)} ms`).join(", ")}`,
      );
      await rm(home, { recursive: true, force: true });
    }
    return { trials, kills, failures, seed };
  } finally {
    await server.stop();
    await rm(folder, { recursive: true, force: true });
  }
}

interface Trial {
  readonly home: string;
  readonly url: string;
  readonly key: { readonly identity: string; readonly recipient: string };
  /** Milliseconds after the start of each attempt at which it is killed. */
  readonly moments: readonly number[];
  readonly expected: string;
}

/** @returns what was wrong, or undefined when nothing was lost, doubled or damaged */
async function runTrial({ home, url, key, moments, expected }: Trial): Promise<string | undefined> {
  const yaml = await writePipeline(home, url, key.recipient);
  for (const moment of moments) await runCommand(yaml, home, moment);
  const last = await runCommand(yaml, home);
  if (last.exit !== 0) return `the last run ended with ${last.exit}: ${last.error}`;
  const out = join(home, "out");
  const runs = await readdir(join(out, "kills"));
  // A kill after the commit leaves that run complete, and the next command begins another; each must be whole.
  for (const run of runs) {
    const runUrl = join(out, "kills", run);
    const report = await verifyExport(runUrl, { level: "full", identity: key.identity });
    if (!report.ok)
      return `verify found ${report.problems.length} problems in ${run}: ${JSON.stringify(report.problems[0])}`;
    const digest = await restoredDigest(runUrl, key.identity);
    if (digest !== expected) return `${run} restores to other rows than the table holds`;
  }
  const left = (await readdir(join(home, "spool", "kills"))).filter(
    (name) => name !== "lock.db" && !/^last-[0-9a-f]{16}\.json$/.test(name),
  );
  return left.length > 0 ? `the spool still holds ${left.join(", ")}` : undefined;
}

async function restoredDigest(url: string, identity: string): Promise<string> {
  const hash = createHash("sha256");
  const sink = new Writable({
    write(bytes: Buffer, _encoding, done) {
      hash.update(bytes);
      done();
    },
  });
  await restoreExport(url, { to: sink, identity });
  return hash.digest("hex");
}

async function writePipeline(home: string, url: string, recipient: string): Promise<string> {
  await mkdir(home, { recursive: true });
  const yaml = join(home, "export.yaml");
  const stages = [
    { postgres: { url, query: "select * from kills order by id" } },
    { serialize: "ndjson" },
    { chunk: "32KiB" },
    { compress: "zstd" },
    { encrypt: { to: recipient } },
    { spool: { dir: join(home, "spool") } },
    { upload: join(home, "out") },
  ];
  // JSON is YAML.
  await writeFile(yaml, JSON.stringify({ name: "kills", stages }));
  return yaml;
}

/** How long an undisturbed run takes, in milliseconds. */
async function measureRun(folder: string, url: string, recipient: string): Promise<number> {
  const home = join(folder, "golden");
  const yaml = await writePipeline(home, url, recipient);
  const started = performance.now();
  const { exit, error } = await runCommand(yaml, home);
  if (exit !== 0) throw new Error(`an undisturbed run ended with ${exit}: ${error}`);
  return performance.now() - started;
}

function runCommand(
  yaml: string,
  home: string,
  killAfterMillis?: number,
): Promise<{ exit: number | null; error: string }> {
  return new Promise((resolve) => {
    const child = spawn(process.execPath, [command, "run", yaml, "--quiet"], {
      stdio: ["ignore", "ignore", "pipe"],
      env: { ...process.env, XDG_STATE_HOME: join(home, "state") },
    });
    let error = "";
    child.stderr.on("data", (text: Buffer) => (error += text.toString()));
    const timer =
      killAfterMillis === undefined
        ? undefined
        : setTimeout(() => child.kill("SIGKILL"), killAfterMillis);
    child.on("close", (exit) => {
      clearTimeout(timer);
      resolve({ exit, error: error.trim() });
    });
  });
}

if (import.meta.main) {
  const { values } = parseArgs({
    options: {
      trials: { type: "string", default: "200" },
      seed: { type: "string", default: String(Date.now() % 1e6) },
      rows: { type: "string", default: "20000" },
    },
  });
  const report = await proveKills({
    trials: Number(values.trials),
    seed: Number(values.seed),
    rows: Number(values.rows),
    onTrial: (line) => process.stderr.write(`${line}\n`),
  });
  for (const failure of report.failures) process.stdout.write(`${failure}\n`);
  process.stdout.write(
    `${report.trials} trials, ${report.kills} kills, ${report.failures.length} failures, seed ${report.seed}\n`,
  );
  process.exitCode = report.failures.length > 0 ? 1 : 0;
}

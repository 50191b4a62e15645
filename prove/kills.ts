/**
 * Proves that kill -9 at any time loses, doubles and damages nothing: the whole command, a real PostgreSQL, many trials.
 *
 *   npm run prove:kills -- --trials 200 --seed 7
 *
 * A trial runs the command and kills it at a random moment, up to three times in a row, then runs it to its end; every
 * other one exports to a store that speaks S3. The oracle is the table itself: the restored rows must be what `row_to_json` prints, byte for byte and in order.
 */
import { spawn } from "node:child_process";
import { mkdir, mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { startPostgres } from "../src/cli/demo-postgres.ts";
import { createKey } from "../test/fixtures/keys.ts";
import { startScriptedS3, type ScriptedS3 } from "../test/servers/scripted-s3.ts";
import { readOptions, tellFailures, tellProgress } from "./command-line.ts";
import { judge } from "./judge.ts";
import { createTable, tableDigest } from "./oracle.ts";
import { seededRandom } from "./seeded.ts";
import { copyStore } from "./stops/scenes.ts";

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
const bucket = "exports";

/** Runs the trials one after another on one table; gives every failure with what was found. */
export async function proveKills({ trials, seed, rows, onTrial }: KillTrials): Promise<KillReport> {
  const folder = await mkdtemp(join(tmpdir(), "spillway-kills-"));
  const server = await startPostgres();
  const store = await startScriptedS3(bucket);
  try {
    await createTable(server.url, rows, seed);
    const key = await createKey();
    const expected = await tableDigest(server.url);
    const random = seededRandom(seed);
    const golden = await measureRun({ home: join(folder, "golden"), url: server.url, key });
    const failures: string[] = [];
    let kills = 0;
    for (let trial = 0; trial < trials; trial += 1) {
      const home = join(folder, `trial-${trial}`);
      const moments = Array.from(
        { length: 1 + Math.floor(random() * killsMost) },
        () => random() * golden * 1.1,
      );
      store.objects.clear();
      // Every other trial goes to a store, which outlives the killed process as a real one would.
      const place = { home, url: server.url, key, ...(trial % 2 === 1 && { store }) };
      const outcome = await runTrial({ ...place, moments, expected }).catch(String);
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
    await store.stop();
    await rm(folder, { recursive: true, force: true });
  }
}

interface Place {
  readonly home: string;
  readonly url: string;
  readonly key: { readonly identity: string; readonly recipient: string };
  /** Where pages go; into a folder when absent. */
  readonly store?: ScriptedS3;
}

interface Trial extends Place {
  /** Milliseconds after the start of each attempt at which it is killed. */
  readonly moments: readonly number[];
  readonly expected: string;
}

/** @returns what was wrong, or undefined when nothing was lost, doubled or damaged */
async function runTrial(trial: Trial): Promise<string | undefined> {
  const { home, key, moments, expected, store } = trial;
  const yaml = await writePipeline(trial);
  for (const moment of moments) await runCommand(yaml, home, moment);
  const last = await runCommand(yaml, home);
  if (last.exit !== 0) return `the last run ended with ${last.exit}: ${last.error}`;
  if (store) await copyStore(store, join(home, "out"));
  // A kill after the commit leaves that run complete, and the next command begins another; each must be whole.
  const exports = join(home, "out", "kills");
  const spool = join(home, "spool", "kills");
  const verdict = await judge({ exports, spool, identity: key.identity, expected });
  return typeof verdict === "string" ? verdict : undefined;
}

async function writePipeline({ home, url, key, store }: Place): Promise<string> {
  await mkdir(home, { recursive: true });
  const yaml = join(home, "export.yaml");
  const stages = [
    { postgres: { url, query: "select * from kills order by id" } },
    { serialize: "ndjson" },
    { chunk: "32KiB" },
    { compress: "zstd" },
    { encrypt: { to: key.recipient } },
    { spool: { dir: join(home, "spool") } },
    { upload: store ? uploadTo(store) : join(home, "out") },
  ];
  // JSON is YAML.
  await writeFile(yaml, JSON.stringify({ name: "kills", stages }));
  return yaml;
}

const uploadTo = ({ endpoint }: ScriptedS3) => ({
  to: `s3://${bucket}`,
  endpoint,
  region: "us-east-1",
  accessKeyId: "${env:STORE_KEY}",
  secretAccessKey: "${env:STORE_KEY}",
});

/** How long an undisturbed run takes, in milliseconds. */
async function measureRun(place: Place): Promise<number> {
  const { home } = place;
  const yaml = await writePipeline(place);
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
      env: { ...process.env, XDG_STATE_HOME: join(home, "state"), STORE_KEY: "key" },
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
  const values = readOptions({ trials: 200, rows: 20_000 });
  const report = await proveKills({
    ...values,
    onTrial: tellProgress,
  });
  tellFailures(report.failures);
  process.stdout.write(
    `${report.trials} trials, ${report.kills} kills, ${report.failures.length} failures, seed ${report.seed}\n`,
  );
}

/**
 * Proves that pipelines drawn at random stay within the least budget that their plan accepts, from any source, through any
 * page, taken up again after stops; and that each ends whole.
 *
 *   npm run prove:budget -- --trials 100 --seed 7
 *
 * The command runs in a process of its own; its peak is the kernel's (VmHWM), of every attempt.
 *
 * Exit: 0 proved · 1 disproved.
 */
import { execFile, spawn } from "node:child_process";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { promisify } from "node:util";
import { bin, buildWhenChanged } from "../bench/job.ts";
import { memoryOf } from "../bench/measure.ts";
import { startPostgres } from "../src/cli/demo-postgres.ts";
import type { RunSummary } from "../src/pipeline/summary.ts";
import { createKey } from "../test/fixtures/keys.ts";
import { drawTrial, type Stop, type Trial } from "./budget/draw.ts";
import { writeInput } from "./budget/inputs.ts";
import { readOptions, tellFailures, tellProgress } from "./command-line.ts";

const MiB = 2 ** 20;
const lookMillis = 20;
const deadlineMillis = 300_000;

export interface BudgetTrials {
  readonly trials: number;
  /** Of the first trial; the next ones follow it. */
  readonly seed: number;
  readonly onTrial?: (line: string) => void;
}

export interface BudgetReport {
  readonly trials: number;
  /** Bytes of the largest peak above its budget, relative to it. */
  readonly worst: number;
  readonly failures: readonly string[];
}

export async function proveBudget({ trials, seed, onTrial }: BudgetTrials): Promise<BudgetReport> {
  buildWhenChanged();
  const server = await startPostgres({ settings: { shared_buffers: "64MB" } });
  const { recipient } = await createKey();
  const failures: string[] = [];
  let worst = 0;
  try {
    for (let own = seed; own < seed + trials; own += 1) {
      const trial = drawTrial(own);
      const { peaks, budgetBytes, found } = await runTrial(trial, {
        databaseUrl: server.url,
        recipient,
      });
      const share = Math.max(0, ...peaks) / budgetBytes;
      worst = Math.max(worst, share);
      const wrong = found ?? (share > 1 ? "over its budget" : undefined);
      const told = `${peaks.map(inMiB).join(", ")} of ${inMiB(budgetBytes)} MiB`;
      if (wrong !== undefined) failures.push(`seed ${own}: ${wrong}: ${told}: ${describe(trial)}`);
      onTrial?.(`seed ${own}: ${told}${wrong === undefined ? "" : `: ${wrong}`}`);
    }
  } finally {
    await server.stop();
  }
  return { trials, worst, failures };
}

const inMiB = (bytes: number) => (bytes / MiB).toFixed(1);

function describe({ rows, ...trial }: Trial): string {
  const sorted = rows.widths.toSorted((a, b) => a - b);
  const widths = sorted.length > 0 ? `${sorted[0]} to ${sorted.at(-1)}` : "no";
  return JSON.stringify({ ...trial, text: rows.text, rows: sorted.length, widths });
}

interface Outcome {
  /** Of each attempt, in bytes. */
  readonly peaks: readonly number[];
  readonly budgetBytes: number;
  readonly found: string | undefined;
}

async function runTrial(
  trial: Trial,
  { databaseUrl, recipient }: { databaseUrl: string; recipient: string },
): Promise<Outcome> {
  const folder = await mkdtemp(join(tmpdir(), "spillway-budget-"));
  try {
    const source = await writeInput(trial, folder, databaseUrl);
    await writeFile(join(folder, "map.mjs"), "export default (row) => ({ ...row, seen: true });\n");
    const yaml = join(folder, "export.yaml");
    const write = (budgetBytes: number) =>
      writeFile(
        yaml,
        JSON.stringify(pipelineOf(trial, { folder, source, recipient, budgetBytes })),
      );
    await write(MiB);
    const budgetBytes = (await leastBudget(yaml)) + Math.round(trial.spareBytes);
    await write(budgetBytes);
    const peaks: number[] = [];
    for (const stop of [...trial.stops, undefined]) {
      const { peakBytes, exit, out } = await attempt(yaml, stop);
      peaks.push(peakBytes);
      if (exit === 0) {
        const { rows } = JSON.parse(out) as RunSummary;
        const found = rows === trial.rows.widths.length ? undefined : `${rows} rows`;
        return { peaks, budgetBytes, found };
      }
      const isStopped = exit === 75 || exit === "SIGKILL" || exit === "SIGTERM";
      if (stop === undefined || !isStopped)
        return { peaks, budgetBytes, found: `ended with ${exit}: ${out.slice(-400)}` };
    }
    throw new Error("the last attempt is let be");
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}

function pipelineOf(
  trial: Trial,
  given: { folder: string; source: object; recipient: string; budgetBytes: number },
): object {
  const { folder, source, recipient, budgetBytes } = given;
  const { serialize, telemetry, recipients } = trial;
  const port = 20_000 + (process.pid % 20_000);
  const nobody = "http://127.0.0.1:1";
  const telemetries = {
    off: undefined,
    light: { otlp: nobody },
    node: { otlp: nobody, sdk: "node" },
    prometheus: { prometheus: `127.0.0.1:${port}` },
  };
  return {
    name: "budget",
    memory: budgetBytes,
    telemetry: telemetries[telemetry],
    stages: [
      source,
      ...Array.from({ length: trial.maps }, () => ({ map: "./map.mjs" })),
      ...(trial.source === "postgres-copy" ? [] : [{ serialize }]),
      { chunk: trial.chunk },
      { compress: trial.compress },
      {
        encrypt:
          recipients === 0 ? "none" : { to: Array.from({ length: recipients }, () => recipient) },
      },
      { spool: { dir: join(folder, "spool"), maxBytes: trial.spoolBytes } },
      {
        upload: {
          to: trial.to === "tar" ? `tar:${join(folder, "out.tar")}` : join(folder, "out"),
          concurrency: trial.concurrency,
        },
      },
    ],
  };
}

/** What the plan wants at least, in bytes. */
async function leastBudget(yaml: string): Promise<number> {
  const planned = await promisify(execFile)(process.execPath, [bin, "plan", yaml]).catch(
    (error: { stdout: string; stderr: string }) => error,
  );
  const [, mebibytes] = /needs (\d+) MiB at least/.exec(planned.stderr) ?? [];
  if (mebibytes === undefined) throw new Error(`the plan says: ${planned.stdout}${planned.stderr}`);
  return Number(mebibytes) * MiB;
}

interface Attempt {
  readonly peakBytes: number;
  readonly exit: number | NodeJS.Signals | null;
  readonly out: string;
}

async function attempt(yaml: string, stop: Stop | undefined): Promise<Attempt> {
  const child = spawn(process.execPath, [bin, "run", yaml, "--json"], {
    stdio: ["ignore", "pipe", "pipe"],
    env: { ...process.env, XDG_STATE_HOME: join(yaml, "..", "state") },
  });
  let [out, said] = ["", ""];
  child.stdout.on("data", (text: Buffer) => (out += text.toString()));
  child.stderr.on("data", (text: Buffer) => (said += text.toString()));
  let exit: Attempt["exit"] | undefined;
  child.on("close", (code, signal) => (exit = signal ?? code));
  const started = performance.now();
  let peakBytes = 0;
  let isStopped = false;
  while (exit === undefined) {
    peakBytes = Math.max(peakBytes, (await memoryOf(child.pid!)).peakBytes);
    const millis = performance.now() - started;
    if (stop && !isStopped && millis > stop.afterMillis) isStopped = child.kill(stop.signal);
    if (millis > deadlineMillis) child.kill("SIGKILL");
    await sleep(lookMillis);
  }
  return { peakBytes, exit, out: exit === 0 ? out : said + out };
}

if (import.meta.main) {
  const { trials, seed } = readOptions({ trials: 20 });
  const { failures, worst } = await proveBudget({ trials, seed, onTrial: tellProgress });
  process.stdout.write(
    `${trials} trials, ${failures.length} failures, at most ${(worst * 100).toFixed(1)} % of the budget, seeds ${seed} to ${seed + trials - 1}\n`,
  );
  tellFailures(failures);
}

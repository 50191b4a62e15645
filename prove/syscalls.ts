/**
 * Proves that a run may be killed before, after and in the middle of anything it asks of a disk or a store, and that each of
 * these may fail, and nothing is lost, doubled, damaged or left behind.
 *
 *   npm run prove:syscalls -- --trials 200 --seed 7
 *   npm run prove:syscalls -- --all [--kills]
 *
 * A golden run of the command lists its operations: files made, written, synced, closed, renamed, linked and removed,
 * folders made and synced, PUTs; in the spool, in the folder of the signing key and at the destination. Then each is a trial: the
 * command is killed there, or fails there, and runs again. Runs that take up what a crash left are swept in the same way.
 */
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { parseArgs } from "node:util";
import { keep, startScriptedS3, type Call } from "../test/servers/scripted-s3.ts";
import { seededRandom } from "./seeded.ts";
import type { Ended } from "./syscalls/home.ts";
import type { Act } from "./syscalls/orders.ts";
import {
  actsOf,
  goldenPoints,
  prepare,
  scenarios,
  type Scenario,
  type Staged,
} from "./syscalls/scenarios.ts";

export interface SyscallTrials {
  /** How many of all trials, drawn at random; all where absent. */
  readonly trials?: number;
  readonly seed: number;
  /** Names of scenarios; all where absent. */
  readonly only?: readonly string[];
  /** Only trials that kill. */
  readonly killsOnly?: boolean;
  readonly onTrial?: (line: string) => void;
}

export interface SyscallReport {
  readonly trials: number;
  /** Operations of all golden runs, and how many of them a trial was made at. */
  readonly points: number;
  readonly reached: number;
  readonly failures: readonly string[];
  readonly seed: number;
}

interface Trial {
  readonly scenario: Scenario;
  readonly staged: Staged;
  readonly at: string;
  readonly act: Act;
}

/** How often a trial is made that did not get to its point: which pages share a flush is a matter of time. */
const attempts = 5;

export async function proveSyscalls(asked: SyscallTrials): Promise<SyscallReport> {
  const folder = await mkdtemp(join(tmpdir(), "spillway-syscalls-"));
  const s3 = await startScriptedS3("bucket");
  try {
    const all: Trial[] = [];
    for (const scenario of scenarios) {
      if (asked.only && !asked.only.includes(scenario.name)) continue;
      const home = join(folder, scenario.name.replaceAll(" ", "-"));
      const staged = await prepare(home, scenario, s3, asked.seed);
      for (const at of await goldenPoints(scenario, staged)) {
        const acts = actsOf(scenario, at, asked.killsOnly ?? false);
        all.push(...acts.map((act) => ({ scenario, staged, at, act })));
      }
    }
    const drawn = draw(all, asked.trials ?? all.length, asked.seed);
    const outcome = await makeTrials(drawn, asked.onTrial);
    return { trials: drawn.length, points: countPoints(all), ...outcome, seed: asked.seed };
  } finally {
    await s3.stop();
    await rm(folder, { recursive: true, force: true });
  }
}

async function makeTrials(trials: readonly Trial[], onTrial: SyscallTrials["onTrial"]) {
  const failures: string[] = [];
  const reached: Trial[] = [];
  for (const [i, trial] of trials.entries()) {
    const outcome = await makeTrial(trial).catch(String);
    if (outcome !== notReached) reached.push(trial);
    const line = `${trial.scenario.name}: ${trial.act} ${trial.at}: ${outcome ?? "whole"}`;
    if (outcome !== undefined && outcome !== notReached) failures.push(line);
    onTrial?.(`${i + 1}/${trials.length} ${line}`);
  }
  return { failures, reached: countPoints(reached) };
}

const countPoints = (trials: readonly Trial[]) =>
  new Set(trials.map(({ scenario, at }) => `${scenario.name}: ${at}`)).size;

/** In an order of their own, so that a sample is of all kinds. */
function draw(all: readonly Trial[], count: number, seed: number): readonly Trial[] {
  const random = seededRandom(seed);
  const keyed = all.map((trial) => ({ trial, order: random() }));
  const sorted = count < all.length ? keyed.toSorted((a, b) => a.order - b.order) : keyed;
  return sorted.slice(0, count).map(({ trial }) => trial);
}

const notReached = "not reached";

/** @returns what was wrong; undefined when all that must hold holds */
async function makeTrial(trial: Trial): Promise<string | undefined> {
  for (let time = 0; time < attempts; time += 1) {
    await trial.staged.home.reset(trial.staged.template);
    const ended = await disturb(trial);
    if (ended.log.includes("reached")) return judgeExit(trial, ended) ?? (await goOn(trial, ended));
  }
  return notReached;
}

async function disturb({ at, act, staged: { home, s3 } }: Trial): Promise<Ended> {
  if (!s3) return await home.run({ at, act });
  s3.objects.clear();
  let kill = () => {};
  let reached = false;
  const plan = () => s3.faults.push({ on: "PUT", play });
  const play = (call: Call) => {
    if (!call.key.endsWith(`/${at.slice("PUT ".length)}`)) {
      plan();
      call.serve();
      return;
    }
    reached = true;
    if (act === "kill-after") keep(s3, call, call.body);
    kill();
    call.response.destroy();
  };
  plan();
  const ended = await home.run({ onStart: (given) => (kill = given) });
  s3.faults.splice(0);
  return { ...ended, log: reached ? ["reached"] : [] };
}

/** What a command may end with where a disk failed: the run goes on, or stops with the code of the disk's owner. */
const codesOf: Record<string, readonly string[]> = {
  spool: ["0", "75"],
  out: ["0", "5"],
  state: ["0", "75"],
};

function judgeExit({ at, act }: Trial, { exit, error }: Ended): string | undefined {
  const right = act.startsWith("kill")
    ? ["SIGKILL"]
    : act === "half"
      ? ["0"]
      : codesOf[at.split(/[/ ]/)[0]!]!;
  return right.includes(exit)
    ? undefined
    : `ended with ${exit}, expected ${right.join(" or ")}: ${error}`;
}

/** The same command goes on, to an end that is whole. */
async function goOn(trial: Trial, ended: Ended): Promise<string | undefined> {
  const { home, expected } = trial.staged;
  // Killed when all was done: then the next command has nothing to go on with, and exports anew.
  const before = ended.exit === "0" ? 0 : await home.countFinished();
  const goesOn = ended.exit !== "0" && (before === 0 || trial.scenario.to === "file");
  if (goesOn) {
    const last = await home.run();
    if (last.exit !== "0") return `the run after it ended with ${last.exit}: ${last.error}`;
  }
  // A name that could not be removed stays, where nobody lists it.
  const mayLeave = !trial.act.startsWith("kill") && /UUID (unlink|rm)#/.test(trial.at);
  const runs = await home.judge(expected, mayLeave);
  const wanted = before + (goesOn || before === 0 ? 1 : 0);
  return runs === wanted ? undefined : `${runs} runs lie at the destination, expected ${wanted}`;
}

if (import.meta.main) {
  const { values } = parseArgs({
    options: {
      trials: { type: "string", default: "100" },
      all: { type: "boolean", default: false },
      kills: { type: "boolean", default: false },
      only: { type: "string", multiple: true },
      seed: { type: "string", default: String(Date.now() % 1e6) },
    },
  });
  const report = await proveSyscalls({
    ...(!values.all && { trials: Number(values.trials) }),
    ...(values.only && { only: values.only }),
    killsOnly: values.kills,
    seed: Number(values.seed),
    onTrial: (line) => process.stderr.write(`${line}\n`),
  });
  for (const failure of report.failures) process.stdout.write(`${failure}\n`);
  process.stdout.write(
    `${report.trials} trials at ${report.reached} of ${report.points} points, ` +
      `${report.failures.length} failures, seed ${report.seed}\n`,
  );
  process.exitCode = report.failures.length > 0 ? 1 : 0;
}

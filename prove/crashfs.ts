/**
 * Proves that a power cut at any moment loses, doubles and damages nothing: the real spool, upload and commit run over a
 * disk that forgets what was not synced, in every way a disk may.
 *
 *   npm run prove:crashfs -- --states 1000000 --seed 7
 *   npm run prove:crashfs -- --seed 7 --state 123456        the one state again
 *
 * A scenario is a run with what goes wrong in it. Before each of its changes of the disk the power is cut, and of what the
 * disk may hold then, some states are drawn; in each the run is taken up, cut again by chance, and ends. The oracle then
 * reads what is there: every export that was promised, whole, in order, once, and nothing left beside it.
 */
import { generateKeyPairSync } from "node:crypto";
import { publicText } from "../src/pipeline/manifest-signature.ts";
import { readOptions } from "./command-line.ts";
import { FolderNode, below, type Cut, type Random } from "./crashfs/files.ts";
import { live, type LifeEnd, type Plant } from "./crashfs/life.ts";
import { calm, drawLucks, drawSetup, type Luck } from "./crashfs/luck.ts";
import { judgeExports, judgeSpool } from "./crashfs/oracle.ts";
import { sealAll, type SealedPages } from "./crashfs/pages.ts";
import type { Attempt, Setup } from "./crashfs/run.ts";
import { seededRandom } from "./seeded.ts";

export interface CrashStates {
  readonly states: number;
  readonly seed: number;
  /** Only this one. */
  readonly state?: number;
  readonly plant?: Plant;
  /** Ends with the first violation. */
  readonly first?: boolean;
  readonly onState?: (state: number, failure: string | undefined) => void;
  /** Told of each call of the disk, where only one state is wanted. */
  readonly trace?: (line: string) => void;
}

export interface CrashReport {
  readonly states: number;
  readonly scenarios: number;
  /** Power cuts, those in the runs that took others up included. */
  readonly cuts: number;
  /** Runs that said they cannot go on, after syncs of theirs had failed. */
  readonly refused: number;
  readonly failures: readonly string[];
  readonly seed: number;
}

/** States drawn of each moment. */
const draws = 4;
/** Power cuts in one state at most. */
const cutsMost = 3;

interface Prover {
  readonly sealed: SealedPages;
  readonly key: Attempt["key"];
  readonly seed: number;
  readonly plant: Plant | undefined;
  readonly trace: CrashStates["trace"];
}

/** Sealed once for all proofs of a process. */
let sealing: Promise<SealedPages> | undefined;

export async function proveCrashfs(options: CrashStates): Promise<CrashReport> {
  const { seed, plant, trace } = options;
  const { privateKey } = generateKeyPairSync("ed25519");
  const sealed = await (sealing ??= sealAll());
  const prover = {
    sealed,
    key: { privateKey, publicText: publicText(privateKey) },
    seed,
    plant,
    trace,
  };
  const report = { states: 0, scenarios: 0, cuts: 0, refused: 0, failures: [] as string[], seed };
  const end = options.state === undefined ? options.states : options.state + 1;
  for (let first = 0, scenario = 0; first < end; scenario += 1) {
    const moments = await countMoments(prover, scenario);
    report.scenarios += 1;
    for (let moment = 1; moment <= moments; moment += 1, first += draws) {
      const wanted = Array.from({ length: draws }, (_, i) => first + i).filter(
        (state) => state < end && (options.state === undefined || state === options.state),
      );
      if (wanted.length === 0) continue;
      for await (const { state, failure, ...end } of drawStates(prover, scenario, moment, wanted)) {
        report.states += 1;
        report.cuts += end.cuts;
        report.refused += end.refused ? 1 : 0;
        if (failure !== undefined) report.failures.push(`state ${state}: ${failure}`);
        options.onState?.(state, failure);
        if (failure !== undefined && options.first) return report;
      }
    }
  }
  return report;
}

/** A stream of chance of its own for everything that is drawn, so that each can be drawn again alone. */
const chance = (seed: number, ...which: readonly number[]): Random =>
  seededRandom(
    which.reduce((mixed, one) => Math.imul(mixed ^ one, 0x9e3779b1) ^ (mixed >>> 15), seed),
  );

interface Scenario {
  readonly setup: Setup;
  readonly lucks: readonly Luck[];
  readonly random: Random;
}

function drawScenario({ sealed, seed }: Prover, scenario: number): Scenario {
  const random = chance(seed, 1, scenario);
  const setup = drawSetup(random, sealed.datasets);
  return { setup, lucks: drawLucks(random, setup.dataset), random };
}

/** Changes of the disk in the scenario, and one moment behind the last. */
async function countMoments(prover: Prover, scenario: number): Promise<number> {
  const { changes } = await live({
    ...common(prover),
    ...drawScenario(prover, scenario),
    root: new FolderNode(),
    trace: undefined,
  });
  return changes + 1;
}

const common = ({ sealed, key, plant, trace }: Prover) => ({
  sealed,
  key,
  trace,
  ...(plant && { plant }),
});

interface StateEnd {
  readonly state: number;
  readonly cuts: number;
  readonly refused: boolean;
  readonly failure: string | undefined;
}

/** Cuts the power at the moment, once, and goes on from several of the states the disk may be in then. */
async function* drawStates(
  prover: Prover,
  scenario: number,
  moment: number,
  states: readonly number[],
): AsyncGenerator<StateEnd> {
  const root = new FolderNode();
  const drawn = drawScenario(prover, scenario);
  const end = await live({ ...common(prover), ...drawn, root, cutAt: moment });
  for (const state of states) {
    const random = chance(prover.seed, 2, state);
    yield { state, ...(await goOn(prover, random, { ...drawn, root, end })) };
  }
}

interface Sofar extends Pick<Scenario, "setup" | "lucks"> {
  readonly root: FolderNode;
  readonly end: LifeEnd;
}

/** One of the states the disk may be in after the cut, and all that comes of it. */
async function goOn(
  prover: Prover,
  random: Random,
  { setup, root, ...sofar }: Sofar,
): Promise<Omit<StateEnd, "state">> {
  const { dataset } = setup;
  const promised = new Set(sofar.end.promised);
  let { lucks, end } = sofar;
  let untidy = false;
  for (let disk = root, cuts = 1; ; cuts += 1) {
    if (end.failure) return { cuts, refused: false, failure: end.failure };
    if (end.refused) return { cuts, refused: true, failure: undefined };
    untidy ||= lucks.some(({ doubtful }) => doubtful);
    prover.trace?.(`power cut ${cuts}`);
    disk = disk.afterCut(drawCut(random), new Map());
    const calmly = cuts >= cutsMost || random() < 0.6;
    lucks = calmly ? [calm] : drawLucks(random, dataset);
    const cutAt = calmly ? Infinity : 1 + below(random, 120);
    end = await live({ ...common(prover), root: disk, setup, random, lucks, cutAt });
    for (const run of end.promised) promised.add(run);
    if (!calmly) continue;
    if (end.promised.length === 0)
      return { cuts, refused: false, failure: end.failure ?? end.refused };
    const expected = { ...prover, signer: prover.key.publicText, dataset, promised, untidy };
    // What was promised must be there after one more power cut too.
    const after = disk.afterCut(drawCut(random), new Map());
    const failure =
      (await judgeExports(disk, expected)) ??
      judgeSpool(disk) ??
      (await judgeExports(after, expected));
    return { cuts, refused: false, failure };
  }
}

/** All that was not synced is there, or gone, or its later part, or each piece by chance. */
function drawCut(random: Random): Cut {
  const kind = below(random, 8);
  if (kind === 0) return { random, moment: Infinity, survival: 1 };
  if (kind === 1) return { random, moment: -1, survival: 0 };
  if (kind < 4) return { random, moment: below(random, 200), survival: 0 };
  return { random, survival: [0.1, 0.5, 0.5, 0.9][kind - 4]! };
}

if (import.meta.main) {
  const print = (line: string) => void process.stdout.write(`${line}\n`);
  const values = readOptions({ states: 5000, state: undefined });
  const started = performance.now();
  // Files that are not there are asked for all the time, and the stacks of these errors are read by nobody.
  if (values.state === undefined) Error.stackTraceLimit = 0;
  const report = await proveCrashfs({
    states: values.states,
    seed: values.seed,
    ...(values.state !== undefined && { state: Number(values.state), trace: print }),
    onState: (state, failure) => {
      if (failure !== undefined) print(`state ${state}: ${failure}`);
      if (state % 10_000 === 9999) process.stderr.write(`${state + 1} states\n`);
    },
  });
  const rate = Math.round((report.states / (performance.now() - started)) * 1000);
  print(
    `${report.states} states of ${report.scenarios} scenarios, ${report.cuts} power cuts, ${report.failures.length} failures, ` +
      `${report.refused} refused after failed syncs, seed ${report.seed}, ${rate} states/s`,
  );
  process.exitCode = report.failures.length > 0 ? 1 : 0;
}

/**
 * Proves that kill -9 at any time loses, doubles and damages nothing: the whole command, a real PostgreSQL, many trials.
 *
 *   npm run prove:kills -- --trials 200 --seed 7 --parallel 2
 *
 * A trial runs the command and kills it, up to three times in a row, then runs it to its end; every other one exports to a
 * store that speaks S3. When it is killed is random: so long after a sign of its progress, the sign being drawn too, that
 * kills fall all over its life, as the report shows. The oracle is the table itself: the restored rows must be what
 * `row_to_json` prints, byte for byte and in order.
 */
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { startPostgres } from "../src/cli/demo-postgres.ts";
import { createKey } from "../test/fixtures/keys.ts";
import { startScriptedS3 } from "../test/servers/scripted-s3.ts";
import { readOptions, tellFailures, tellProgress } from "./command-line.ts";
import { signs, type Ended, type Moment, type Sign } from "./kills/attempt.ts";
import { stretches, type Stretch } from "./kills/how-far.ts";
import { bucket, runOnce, runTrial, type Home, type Kill } from "./kills/trial.ts";
import { createTable, tableDigest } from "./oracle.ts";
import { seededRandom } from "./seeded.ts";

export interface KillTrials {
  readonly trials: number;
  readonly seed: number;
  readonly rows: number;
  /** Trials that go on side by side. */
  readonly parallel?: number;
  readonly onTrial?: (line: string) => void;
}

export interface KillReport {
  readonly trials: number;
  readonly kills: readonly Kill[];
  readonly failures: readonly string[];
  readonly seed: number;
}

const killsMost = 3;
/** Of so many trials, one has its pages opened by `verify` too. */
const verifiedEvery = 10;

/** How often a kill counts from each sign: most of what can go wrong lies where pages go and where they are committed. */
const weights: Readonly<Record<Sign, number>> = {
  start: 1,
  record: 3,
  page: 6,
  sums: 3,
  manifest: 2,
  stored: 2,
};

/** Runs the trials on one table; gives every failure with what was found. */
export async function proveKills(asked: KillTrials): Promise<KillReport> {
  const { trials, seed, rows, parallel = 1 } = asked;
  const folder = await mkdtemp(join(tmpdir(), "spillway-kills-"));
  const server = await startPostgres();
  const { url } = server;
  try {
    await createTable(url, rows, seed);
    const key = await createKey();
    const expected = await tableDigest(url);
    const golden = await runOnce({ home: join(folder, "golden"), url, key });
    const drawn = drawMoments(trials, seed, golden).entries();
    const report = { trials, kills: [], failures: [], seed };
    const shared = { folder, url, key, expected, report, onTrial: asked.onTrial };
    await Promise.all(Array.from({ length: parallel }, () => playTrials(drawn, shared)));
    return report;
  } finally {
    await server.stop();
    await rm(folder, { recursive: true, force: true });
  }
}

interface Shared {
  readonly folder: string;
  readonly url: string;
  readonly key: Home["key"];
  readonly expected: string;
  readonly report: { readonly kills: Kill[]; readonly failures: string[] };
  readonly onTrial: KillTrials["onTrial"];
}

async function playTrials(
  drawn: Iterable<readonly [number, readonly Moment[]]>,
  { folder, report, onTrial, ...shared }: Shared,
): Promise<void> {
  const store = await startScriptedS3(bucket);
  try {
    for (const [trial, moments] of drawn) {
      const home = join(folder, `trial-${trial}`);
      // Every other trial goes to a store, which outlives the killed process as a real one would.
      const place = { home, ...shared, ...(trial % 2 === 1 && { store }) };
      const isVerifiedInFull = trial % verifiedEvery < 2;
      const { kills, wrong } = await runTrial({ ...place, moments, isVerifiedInFull });
      report.kills.push(...kills);
      if (wrong !== undefined) report.failures.push(`trial ${trial}: ${wrong}`);
      const fell = kills.map(({ stretch }) => stretch).join(", ");
      onTrial?.(`trial ${trial}: ${wrong ?? "whole"}; killed ${fell || "never"}`);
      // It is asked for millions of objects.
      store.objects.clear();
      for (const list of [store.requests, store.headers]) list.length = 0;
      await rm(home, { recursive: true, force: true });
    }
  } finally {
    await store.stop();
  }
}

/** For each trial the moments of its kills; a sign's kills come before the next one is due, or a little later. */
function drawMoments(trials: number, seed: number, { seen, millis }: Ended): readonly Moment[][] {
  const random = seededRandom(seed);
  const at = (sign: Sign | undefined) => (sign && seen.get(sign)) ?? millis;
  const bag = signs.flatMap((sign) => Array<Sign>(weights[sign]).fill(sign));
  const drawOne = (): Moment => {
    const since = bag[Math.floor(random() * bag.length)]!;
    const next = signs[signs.indexOf(since) + 1];
    return { since, millis: random() * 1.2 * (at(next) - at(since)) };
  };
  return Array.from({ length: trials }, () =>
    Array.from({ length: 1 + Math.floor(random() * killsMost) }, drawOne),
  );
}

/** How many kills fell where: of first attempts, and of those that took one up. */
export function countKills(kills: readonly Kill[]): string {
  const count = (stretch: Stretch, isResumed: boolean) =>
    kills.filter((kill) => kill.stretch === stretch && kill.isResumed === isResumed).length;
  return stretches
    .map((stretch) => `${stretch}: ${count(stretch, false)} + ${count(stretch, true)} resumed`)
    .join("\n");
}

if (import.meta.main) {
  const values = readOptions({ trials: 200, rows: 10_000, parallel: 1 });
  const { trials, kills, failures, seed } = await proveKills({ ...values, onTrial: tellProgress });
  tellFailures(failures);
  process.stdout.write(`${countKills(kills)}\n`);
  process.stdout.write(
    `${trials} trials, ${kills.length} kills, ${failures.length} failures, seed ${seed}\n`,
  );
}

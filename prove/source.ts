/**
 * Proves that no fault of server or network makes a short export: a real PostgreSQL, three ways through spillway, many trials.
 *
 *   npm run prove:source -- --trials 200 --seed 7
 *
 * A trial begins an export, does harm at a random moment, and lets the network heal. The attempt must end complete, or
 * fail with exit code 4 or 75 and keep its spool; the next attempt must complete. The oracle is the table itself: what
 * is restored must be what `row_to_json` prints, byte for byte and in order. Tables that are written to meanwhile must
 * restore to one version of theirs.
 */
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { startPostgres } from "../src/cli/demo-postgres.ts";
import { run } from "../src/pipeline/run.ts";
import { startTcpProxy } from "../test/servers/tcp-proxy.ts";
import { readOptions, tellFailures, tellProgress } from "./command-line.ts";
import { createTable, tableDigest } from "./oracle.ts";
import { seededRandom } from "./seeded.ts";
import { chooseHarm } from "./source/harms.ts";
import {
  digestOf,
  type Export,
  leftIn,
  makeExport,
  paths,
  restoredTexts,
  signEnv,
} from "./source/pipeline.ts";
import { proveEpochs } from "./source/epochs.ts";
import { proveLies } from "./source/lies.ts";
import { prepareServer, queries } from "./source/server.ts";
import { proveStorm } from "./source/storm.ts";
import { attempt, type Outcome, pickOf, type Stage, type Trial } from "./source/trial.ts";

export interface SourceTrials {
  readonly trials: number;
  readonly seed: number;
  readonly rows: number;
  /** Trials under way at once; many of them wait. */
  readonly width: number;
  readonly onTrial?: (line: string) => void;
}

export interface SourceReport {
  readonly trials: number;
  readonly failures: readonly string[];
  readonly seed: number;
  /** Trials by harm and outcome of the harmed attempt. */
  readonly outcomes: ReadonlyMap<string, number>;
  /** The longest time from a silence of the network to the failure that tells of it. */
  readonly slowestMillis: number;
}

export async function proveSource(options: SourceTrials): Promise<SourceReport> {
  const { trials, seed, rows, width, onTrial } = options;
  const folder = await mkdtemp(join(tmpdir(), "spillway-source-"));
  const server = await startPostgres({ settings: { max_connections: "200" } });
  const failures: string[] = [];
  const outcomes = new Map<string, number>();
  let slowestMillis = 0;
  try {
    await createTable(server.url, rows, seed);
    await prepareServer(server.url);
    const golden = await runUndisturbed(folder, server.url);
    const stage: Stage = { serverUrl: server.url, folder, golden };
    let next = 0;
    const work = async () => {
      while (next < trials) {
        const trial = next++;
        const home = join(folder, `trial-${trial}`);
        const random = seededRandom(seed * 1_000_003 + trial);
        try {
          const { what, silentMillis = 0 } = await runTrial({ stage, home, trial, random });
          outcomes.set(what, (outcomes.get(what) ?? 0) + 1);
          slowestMillis = Math.max(slowestMillis, silentMillis);
          onTrial?.(`trial ${trial}: ${what}`);
        } catch (error) {
          failures.push(
            `trial ${trial}: ${error instanceof Error ? error.message : String(error)}`,
          );
          onTrial?.(failures.at(-1)!);
        }
        await rm(home, { recursive: true, force: true });
      }
    };
    await Promise.all(Array.from({ length: width }, work));
    return { trials, failures, seed, outcomes, slowestMillis };
  } finally {
    await server.stop();
    await rm(folder, { recursive: true, force: true });
  }
}

/** What each path makes of the table when nobody disturbs it; the fast path's must be what PostgreSQL itself prints. */
async function runUndisturbed(folder: string, serverUrl: string): Promise<Stage["golden"]> {
  const measured = await Promise.all(
    paths.map(async (path) => {
      const proxy = await startTcpProxy(Number(new URL(serverUrl).port));
      const url = serverUrl.replace(/:\d+\//, `:${proxy.port}/`);
      const made = makeExport({ home: join(folder, path), url, query: queries.plain, path });
      await run(made.pipeline, { env: signEnv });
      const [text = ""] = await restoredTexts(made.out);
      const bytes = proxy.bytesToClient;
      await proxy.close();
      return [path, { digest: digestOf(text), bytes }] as const;
    }),
  );
  const golden = Object.fromEntries(measured) as Stage["golden"];
  const expected = await tableDigest(serverUrl);
  if (golden.wire.digest !== expected || golden.rows.digest !== expected)
    throw new Error("an undisturbed export restores to other rows than the table holds");
  return golden;
}

function runTrial(trial: Trial): Promise<Outcome> {
  const dice = trial.random();
  if (dice < 0.08) return proveLies(trial);
  if (dice < 0.2) return proveStorm(trial);
  if (dice < 0.4) return proveEpochs(trial);
  return proveHarm(trial);
}

async function proveHarm({ stage, home, trial, random }: Trial): Promise<Outcome> {
  const { serverUrl, golden } = stage;
  const harm = chooseHarm(random);
  const path = pickOf(paths, random);
  const user = pickOf(["postgres", "limited"], random);
  const query = pickOf([queries.plain, queries.noisy], random);
  const proxy = await startTcpProxy(Number(new URL(serverUrl).port));
  const application = `trial-${trial}`;
  const url = `postgres://${user}@127.0.0.1:${proxy.port}/postgres?application_name=${application}`;
  const made = makeExport({ home, url, query, path });
  const answerBytes = golden[path].bytes;
  let harmedAt = Number.POSITIVE_INFINITY;
  const scene = { proxy, gate: made.gate, serverUrl, application, random, answerBytes };
  try {
    const harming = harm.do(scene).then(() => (harmedAt = performance.now()));
    const ended = await attempt(made);
    const silentMillis = Math.max(0, performance.now() - harmedAt);
    await harming;
    if (ended && harm.harmless) throw new Error(`${harm.name}: ${path} failed: ${ended.message}`);
    proxy.heal();
    if (ended) await attempt(made, true);
    await check(made, golden[path].digest, harm.name);
    const what = `${harm.name}, ${path}: ${ended ? "failed, then whole" : "whole"}`;
    return { what, ...(ended && harm.silences && { silentMillis }) };
  } finally {
    await proxy.close();
  }
}

/** Whatever is committed must be whole, and nothing of it left in the spool. */
async function check(made: Export, digest: string, harm: string): Promise<void> {
  const texts = await restoredTexts(made.out);
  if (texts.length !== 1) throw new Error(`${harm}: ${texts.length} exports were committed`);
  if (digestOf(texts[0]!) !== digest) throw new Error(`${harm}: other rows than the table holds`);
  const left = await leftIn(made.folder);
  if (left.length > 0) throw new Error(`${harm}: the spool still holds ${left.join(", ")}`);
}

if (import.meta.main) {
  const values = readOptions({ trials: 100, rows: 6000, width: 4 });
  const report = await proveSource({
    ...values,
    onTrial: tellProgress,
  });
  for (const [what, count] of [...report.outcomes].toSorted(([a], [b]) => a.localeCompare(b)))
    process.stdout.write(`${String(count).padStart(6)}  ${what}\n`);
  tellFailures(report.failures);
  process.stdout.write(
    `${report.trials} trials, ${report.failures.length} failures, seed ${report.seed}; ` +
      `silence was noticed within ${(report.slowestMillis / 1000).toFixed(1)} s\n`,
  );
}

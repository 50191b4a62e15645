/**
 * Proves that a failing store loses, doubles and damages nothing, and stops no run that could go on.
 *
 *   npm run prove:stores -- --lost 10000 --seed 7        until so many uploads have lost their answer
 *   npm run prove:stores -- --trials 20 --real s3        before Ceph RGW, behind a network that loses; sftp: OpenSSH
 *
 * A trial exports rows in small pages to a store of its own, whose requests fail by chance: answers are lost before,
 * in the middle or after the object was stored, bytes are damaged, storms come. In most trials no object fails more
 * often than an exporter asks: such a run must commit at once. In every fourth the store is worse than that: the run
 * may end as the store's fault, resumable, as often as it must, and commits when the store gets better.
 */
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { PipelineError } from "../src/errors.ts";
import { run } from "../src/pipeline/run.ts";
import { startScriptedS3 } from "../test/servers/scripted-s3.ts";
import { readOptions, tellFailures, tellProgress } from "./command-line.ts";
import { proveRealStore } from "./stores/real-store.ts";
import { seededRandom } from "./seeded.ts";
import {
  bucket,
  judgeStore,
  pipelineOf,
  prepare,
  storesFault,
  type Exported,
  type StoreReport,
  type StoreTrials,
} from "./stores/oracle.ts";
import { makeMischief, type Mischief } from "./stores/script.ts";

const mostAttempts = 40;
/** Trials side by side: an exporter that asks again waits most of its time. */
const atOnce = 6;
/** An exporter asks six times; one of them may have been meant for another fault's connection. */
const bearable = 4;

/** Runs the trials one after another. */
export async function proveStores(options: StoreTrials): Promise<StoreReport> {
  const { trials, seed, rows, lost: wanted = 0, onTrial } = options;
  const folder = await mkdtemp(join(tmpdir(), "spillway-stores-"));
  const sum = { uploads: 0, lost: 0, stops: 0, faults: 0 };
  const failures: string[] = [];
  let begun = 0;
  try {
    const exported = await prepare(folder, rows, seed);
    const runTrials = async () => {
      while (begun < trials || sum.lost < wanted) {
        const trial = begun++;
        const dir = join(folder, `${trial}`);
        const result = await runTrial(exported, dir, seed + trial, trial % 4 === 3);
        for (const name of ["uploads", "lost", "stops", "faults"] as const)
          sum[name] += result[name];
        if (result.wrong !== undefined) failures.push(`seed ${seed + trial}: ${result.wrong}`);
        onTrial?.(`trial ${trial}: ${JSON.stringify(result)}`);
        await rm(dir, { recursive: true, force: true, maxRetries: 3 });
      }
    };
    await Promise.all(Array.from({ length: atOnce }, runTrials));
    return { trials: begun, seed, failures, ...sum };
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}

interface Trial {
  readonly uploads: number;
  readonly lost: number;
  readonly stops: number;
  readonly faults: number;
  readonly seconds: number;
  readonly conditions: string;
  readonly wrong: string | undefined;
}

async function runTrial(
  exported: Exported,
  dir: string,
  seed: number,
  isStorm: boolean,
): Promise<Trial> {
  const started = performance.now();
  const random = seededRandom(Math.imul(seed, 0x9e3779b1));
  const store = await startScriptedS3(bucket);
  store.conditions = (["honour", "honour", "ignore", "refuse"] as const)[Math.floor(random() * 4)]!;
  store.repeatsChecksums = random() < 0.5;
  store.keysPerListing = 20 + Math.floor(random() * 100);
  const mischief: Mischief = {
    chance: isStorm ? 0.7 : 0.3 + 0.6 * random(),
    mostEach: isStorm ? Number.POSITIVE_INFINITY : bearable,
    isStorm,
  };
  const toll = makeMischief(store, random, mischief);
  const s3 = { endpoint: store.endpoint, accessKeyId: "id", secretAccessKey: "secret" };
  const to = `s3://${bucket}/nightly`;
  const tell = (wrong: string | undefined, stops = 0): Trial => {
    const { stored, lost, faults } = toll;
    const seconds = Math.round((performance.now() - started) / 1000);
    const { conditions } = store;
    return { uploads: stored, lost, stops, faults, seconds, conditions, wrong };
  };
  try {
    const pipeline = pipelineOf(exported, dir, to, s3);
    for (let stops = 0; ; stops += 1) {
      // Storms pass.
      if (stops > 4) mischief.chance = 0.2;
      const ended = await run(pipeline, { env: exported.env }).catch((error: unknown) => error);
      if (ended instanceof Error) {
        const isTheirs = ended instanceof PipelineError && storesFault.has(ended.code);
        if (isStorm && isTheirs && stops < mostAttempts) continue;
        return tell(`the run ended: ${ended.message}`, stops);
      }
      toll.end();
      const { runId } = ended as { runId: string };
      const wrong = await judgeStore(exported, { dir, to, s3, runs: [runId] });
      const doubled = store.conditions === "honour" && toll.stored !== store.objects.size;
      if (toll.overwritten.length > 0) return tell(`${toll.overwritten[0]} was overwritten`, stops);
      if (doubled)
        return tell(`${toll.stored} were stored for ${store.objects.size} objects`, stops);
      return tell(wrong, stops);
    }
  } catch (error) {
    return tell(String(error));
  } finally {
    await store.stop();
  }
}

if (import.meta.main) {
  const values = readOptions({ trials: 8, lost: 0, rows: 4000, real: undefined });
  const { real } = values;
  if (real !== undefined && real !== "s3" && real !== "sftp")
    throw new Error("expected --real s3 or --real sftp");
  const prove = (trials: StoreTrials) =>
    real === undefined ? proveStores(trials) : proveRealStore(trials, real);
  const report = await prove({
    ...values,
    onTrial: tellProgress,
  });
  tellFailures(report.failures);
  process.stdout.write(
    `${report.trials} trials, ${report.uploads} uploads, ${report.lost} with lost answers, ` +
      `${report.stops} stops, ${report.failures.length} failures, seed ${report.seed}\n`,
  );
}

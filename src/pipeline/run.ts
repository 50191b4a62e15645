/** Plan → running stages → committed export. The same call takes up what a crash left. */
import { peakRssBytes } from "../telemetry/peak-memory.ts";
import { openDestination } from "../stages/destinations/schemes.ts";
import type { Destination } from "../stages/destinations/destination.ts";
import { urlOfFolder, urlOfObject } from "../stages/destinations/object-names.ts";
import { createLease } from "../stages/lease.ts";
import { createPressure } from "../stages/pressure.ts";
import { sealedMost } from "../stages/pages/chunk.ts";
import { bufferBytes } from "../stages/pages/spool-flush.ts";
import { openSpool, type Spool } from "../stages/pages/spool-store.ts";
import { destinationOptions } from "../stages/pages/upload.ts";
import { createQueries, type Queries } from "../stages/queries/queries.ts";
import type { Log, StageContext } from "../stages/stage.ts";
import { untilAborted } from "../stages/until-aborted.ts";
import type { RunWatch } from "../telemetry/watch.ts";
import type { Pool } from "../workers/pool.ts";
import { commitRun } from "./commit.ts";
import type { Pipeline } from "./define.ts";
import { flow, toPipelineError } from "./flow.ts";
import { manifestName } from "./manifest.ts";
import { planPipeline } from "./plan.ts";
import type { Plan, PlanReport } from "./plan-types.ts";
import { bindingOf, hasWatermark, pointsOf } from "./resume.ts";
import { openRunFolder, type LastCommit, type RunFolder } from "./run-folder.ts";
import { loadSigningKey, type SigningKey } from "./signing-key.ts";
import type { Progress, RunSummary } from "./summary.ts";
import { watchPlannedRun } from "./watched-run.ts";

export interface RunOptions {
  /** Stops the run cleanly, resumable; a second reason is not waited for. */
  readonly signal?: AbortSignal;
  /** Discards an unfinished run and begins anew. */
  readonly restart?: boolean;
  /** The time of a schedule this run is for: when one for it, or for a later one, is committed, nothing is done. */
  readonly slot?: Date;
  readonly log?: Log;
  /** Takes the first so many rows of the source and no more: to try a pipeline out, never for an export. */
  readonly sample?: number;
  /** Called once, with the plan of the run, before anything is opened. */
  readonly onPlan?: (report: PlanReport) => void;
  /** Called a few times a second while the run goes on, until it throws: the log says so, and the run does not depend on it. */
  readonly onProgress?: (progress: Progress) => void;
  readonly env?: Readonly<Record<string, string | undefined>>;
}

const silent: Log = { info() {}, warn() {} };

/**
 * Runs a pipeline to its committed end.
 * @returns the summary of the committed run
 * @throws PipelineError whose `exitCode` says what became of it; what was durable stays so, and the same call goes on
 */
export async function run(pipeline: Pipeline, options: RunOptions = {}): Promise<RunSummary> {
  try {
    return await planAndRun(pipeline, options);
  } catch (error) {
    throw toPipelineError(error, options.signal);
  }
}

async function planAndRun(pipeline: Pipeline, options: RunOptions): Promise<RunSummary> {
  const started = performance.now();
  const env = options.env ?? process.env;
  const signal = options.signal ?? new AbortController().signal;
  const plan = await untilAborted(planPipeline(pipeline, { resolve: "full", env }), signal);
  const { upload, report } = plan;
  options.onPlan?.(report);
  signal.throwIfAborted();
  const key = await loadSigningKey(plan.sign);
  if (key.made)
    options.log?.info(`made a signing key; pin its public half when verifying: ${key.publicText}`);
  const destination = await openDestination(upload.to, destinationOptions(upload));
  try {
    signal.throwIfAborted();
    const folder = await openRunFolder({
      ...bindingOf(plan, destination),
      restart: options.restart ?? false,
      slot: options.slot?.toISOString(),
      carries: hasWatermark(plan),
      warn: (text) => options.log?.warn(text),
    });
    try {
      return await runInFolder({ plan, key, destination, folder, options, signal, env, started });
    } finally {
      folder.release();
    }
  } finally {
    await destination.close();
  }
}

interface Opened {
  readonly plan: Plan;
  readonly key: SigningKey;
  readonly destination: Destination;
  readonly folder: RunFolder;
  readonly options: RunOptions;
  /** The caller's, or one that never fires. */
  readonly signal: AbortSignal;
  readonly env: Readonly<Record<string, string | undefined>>;
  readonly started: number;
}

async function runInFolder(opened: Opened): Promise<RunSummary> {
  const { plan, folder } = opened;
  if (folder.done)
    opened.options.log?.info(`slot ${folder.done.slot} is done, by run ${folder.last!.runId}`);
  if (folder.committed) {
    await folder.commit(folder.last!);
    return summarize(opened, folder.last!, undefined);
  }
  const points = await pointsOf(plan, folder);
  const spool = await openSpool({
    folder: folder.path,
    maxBytes: plan.spool.maxBytes,
    fullTimeoutMillis: plan.spool.fullTimeout,
    key: Buffer.from(folder.record.key, "hex"),
    bufferBytes: bufferBytes(sealedMost(plan.report.pageBytes)),
    points,
    carried: folder.carried,
  });
  if (points && spool.durable > 0 && !spool.facts && !spool.point)
    opened.options.log?.warn(
      "no last key can be opened, as after a change of the password; the run goes on by proof, from the start of the query",
    );
  const { createPool } = await import("../workers/pool.ts");
  const pool = createPool(plan.report.threads);
  try {
    return await runWatched({ ...opened, spool, pool });
  } finally {
    await pool.close();
    // After a commit it is closed already.
    await spool.close().catch(() => {});
  }
}

async function runWatched(opened: Opened & { spool: Spool; pool: Pool }): Promise<RunSummary> {
  const { plan, folder, spool, pool, options, signal, destination, started } = opened;
  const log = options.log ?? silent;
  const lease = createLease(plan.report.leaseBytes, createPressure(plan.report.pressure));
  const caches: StageContext["caches"] = [];
  const queries = createQueries(signal, log.warn);
  const { watch, ...watched } = await watchPlannedRun({ ...opened, lease, log, caches });
  try {
    if (watch.traceparent) await folder.save({ ...folder.record, traceparent: watch.traceparent });
    const stop = watched.reportProgress(options.onProgress, started);
    try {
      const { lease, expect: onExpected } = watched;
      const { query } = queries;
      const world = { lease, pool, spool, destination, log, query, caches };
      const { sample } = options;
      await flow({ ...world, plan, folder, watch, signal, sample, onExpected });
      // A manifest of many pages is large: it gets the room that pages leave, and workers, who have no more to do.
      await pool.close();
      lease.pressure.settle();
      watched.committing();
      const last = await commitRun({ ...opened, pressure: lease.pressure });
      await tidyUp(opened, last, log);
      watch.end();
      return { ...summarize(opened, last, watch), ...tellQueries(queries) };
    } finally {
      stop();
      await queries.close();
    }
  } catch (error) {
    watch.end(error);
    throw error;
  } finally {
    await watched.shutdown(signal);
  }
}

/** Exports that the schedule does not keep leave the destination. */
async function tidyUp(opened: Opened, { runId }: LastCommit, log: Log): Promise<void> {
  const { plan, folder, destination, signal } = opened;
  const { schedule } = plan;
  if (!schedule?.keep || signal.aborted) return;
  const [{ removeOutdated }, { slotsOf }] = await Promise.all([
    import("./retention.ts"),
    import("./schedule.ts"),
  ]);
  const { keep } = schedule;
  const slots = slotsOf(schedule);
  const { pipeline } = folder.record;
  const now = new Date();
  const run = { pipeline, current: runId, folder: folder.path };
  await removeOutdated({ keep, destination, ...run, now, slots, signal, log });
}

/** What stages of one's own asked, where they asked anything. */
function tellQueries(queries: Queries): Pick<RunSummary, "queries"> {
  const asked = queries.stats();
  return asked.length > 0 ? { queries: asked } : {};
}

function summarize(opened: Opened, last: LastCommit, watch: RunWatch | undefined): RunSummary {
  const { plan, folder, destination, started } = opened;
  const runFolder = `${folder.record.pipeline}/${last.runId}`;
  return {
    runId: last.runId,
    pipeline: folder.record.pipeline,
    slot: folder.done?.slot ?? folder.record.slot ?? null,
    state: "committed",
    rows: last.rows,
    pages: last.pages,
    bytesIn: last.bytesIn,
    bytesOut: last.bytesOut,
    seconds: (performance.now() - started) / 1000,
    peakRssBytes: peakRssBytes(),
    memoryBudgetBytes: plan.report.memoryBytes,
    destination: urlOfFolder(destination.url, runFolder),
    manifest: urlOfObject(destination.url, `${runFolder}/${manifestName}`),
    signer: last.signer,
    consistency: last.consistency,
    layers: last.layers ?? { extension: last.extension, ...plan.layers },
    opensWith: plan.opensWith,
    rejected: {},
    resumedFrom: folder.resumed ? folder.record.runId : null,
    stages: watch?.stats() ?? [],
    bottleneck: watch?.bottleneck() ?? null,
    traceId: watch?.traceId ?? null,
  };
}

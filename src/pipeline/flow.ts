/**
 * The stages of a plan, each pulling from the one before, from first row to last receipt.
 *
 * Nothing lies between two stages: a stage works when the next one asks, so a full spool stops the cursor by itself.
 * The first failure aborts the run's signal, which ends every wait; then all stages close, and the failure is thrown.
 * A stage that does not close is waited for a while and then left behind.
 */
import { PipelineError, inStage, isAbort, kindOf, systemCode } from "../errors.ts";
import type { Destination } from "../stages/destinations/destination.ts";
import type { Lease } from "../stages/lease.ts";
import type { Page, Receipt, RecordBatch, RowBatch } from "../stages/nouns.ts";
import { refuseForeignEnd } from "../stages/pages/format-limits.ts";
import type { Spool } from "../stages/pages/spool-store.ts";
import type { Pressure } from "../stages/pressure.ts";
import type { Log, StageContext } from "../stages/stage.ts";
import { untilAborted } from "../stages/until-aborted.ts";
import { settlesWithin } from "../telemetry/deadline.ts";
import type { RunWatch } from "../telemetry/watch.ts";
import type { Pool } from "../workers/pool.ts";
import { firstRows } from "./first-rows.ts";
import type { Plan } from "./plan-types.ts";
import type { RunFolder } from "./run-folder.ts";
import type { Expected } from "./watched-run.ts";

export interface FlowInit {
  readonly plan: Plan;
  readonly folder: RunFolder;
  readonly spool: Spool;
  readonly lease: Lease;
  readonly pool: Pool;
  readonly destination: Destination;
  readonly watch: RunWatch;
  readonly signal: AbortSignal | undefined;
  readonly log: Log;
  readonly query: StageContext["query"];
  readonly caches: StageContext["caches"];
  /** Rows of the source to take and no more; all of them when absent. */
  readonly sample?: number | undefined;
  /** Hears how many rows the source expects to give. */
  readonly onExpected: (expected: Expected) => void;
}

/** How long stages may take to close after a failure; longer than any of their own deadlines for closing. */
const closeMillis = 8000;
/** Who stops a run does not wait for a server or a stage that hangs: what is durable is so already. */
const stopMillis = 700;

/**
 * Runs the stages until every page is acknowledged.
 * @throws PipelineError the first failure, or `stopped` when the caller's signal fired
 */
export async function flow(init: FlowInit): Promise<void> {
  const { plan, folder, spool, lease, pool, destination, watch, log, query, caches } = init;
  const failure = new AbortController();
  const signals = [failure.signal, spool.failure, ...(init.signal ? [init.signal] : [])];
  const signal = AbortSignal.any(signals);
  const run = { id: folder.record.runId, pipeline: folder.record.pipeline };
  const ctx: StageContext = { signal, lease, pool, spool, destination, run, log, query, caches };
  const owned = new Set<Promise<void>>();
  // Once the last page is durable the source is needed no more.
  const stages = spool.facts
    ? plan.stages.slice(plan.stages.findIndex(({ takes }) => takes === "sealed"))
    : plan.stages;

  let items: AsyncIterable<unknown> = nothing();
  let failed: string | undefined;
  for (const stage of stages) {
    const isReplaying = stage.takes === "records" && stage.gives === "pages" && spool.durable > 0;
    const opened = watch.wrap(stage, items, (input) =>
      isReplaying
        ? skipReplayed(stage.open(ctx, input) as AsyncIterable<Page>, spool)
        : stage.open(ctx, input),
    );
    items = own(opened, owned, (error) => {
      if (!signal.aborted) failed = stage.name;
      failure.abort(error);
    });
    if (stage.takes !== "nothing") continue;
    if (init.sample !== undefined) items = firstRows(items, init.sample);
    items = observe(items, stage.name, init);
  }
  try {
    await drain(items as AsyncIterable<Receipt>, lease.pressure, signal);
    for (const { settle } of plan.stages) await settle?.(ctx);
  } catch (error) {
    failure.abort(error);
    const patience = init.signal?.aborted ? stopMillis : closeMillis;
    await settlesWithin(patience, Promise.allSettled(owned));
    // What came first is the signal's reason: all other failures follow from it, and are noise.
    throw inStage(toPipelineError(signal.reason, init.signal), failed);
  }
}

/** What a page leaves in the heap of the main thread, however small it is. */
const pageGarbageBytes = 32 * 1024;

/**
 * Takes every receipt, and measures memory on: when the source has ended, there may be many to come. A stage that does not
 * hear the signal is left where it hangs, to be closed by and by.
 */
async function drain(
  receipts: AsyncIterable<Receipt>,
  pressure: Pressure,
  signal: AbortSignal,
): Promise<void> {
  const iterator = receipts[Symbol.asyncIterator]();
  const takeAll = async () => {
    for (;;) {
      const { done, value } = await iterator.next();
      if (done) return;
      pressure.passed(Math.max(value.sealedBytes, pageGarbageBytes));
    }
  };
  try {
    await untilAborted(takeAll(), signal);
  } catch (error) {
    iterator.return?.().catch(() => {});
    throw error;
  }
}

async function* nothing(): AsyncGenerator<never> {}

/**
 * What the source gives: memory is measured as it passes, told how much there will be, and what it proves is looked at. Records
 * lie in memory that is used again and leave next to no garbage, so they count half of what rows do.
 */
async function* observe(
  batches: AsyncIterable<unknown>,
  source: string,
  { lease, onExpected }: FlowInit,
): AsyncGenerator {
  for await (const batch of batches) {
    const { bytes, expects, end } = batch as RowBatch | RecordBatch;
    lease.pressure.passed(typeof bytes === "number" ? bytes : bytes.length / 2);
    if (expects) onExpected(expects);
    if (end) refuseForeignEnd(end, source);
    yield batch;
  }
}

/** Notes when a stage is open, so that the run can wait for it to close, and tells of its failure at once. */
async function* own(
  items: AsyncIterable<unknown>,
  owned: Set<Promise<void>>,
  onFailure: (error: unknown) => void,
): AsyncGenerator {
  const closed = Promise.withResolvers<void>();
  owned.add(closed.promise);
  try {
    yield* items;
  } catch (error) {
    onFailure(error);
    throw error;
  } finally {
    closed.resolve();
    owned.delete(closed.promise);
  }
}

/**
 * Pages that are durable from an earlier attempt go no further; each is proven equal first.
 * @throws PipelineError `source-changed` at the first page that differs
 */
async function* skipReplayed(pages: AsyncIterable<Page>, spool: Spool): AsyncGenerator<Page> {
  for await (const page of pages) {
    const verdict = await spool.replay(page);
    if (verdict === "new") {
      yield page;
      continue;
    }
    page.release();
    if (verdict === "different") {
      throw new PipelineError(
        "source-changed",
        `the source gives other rows than in the first attempt (first difference in page ${page.page}); ` +
          "restore what it was and run again, or discard the unfinished run with --restart",
      );
    }
  }
}

/** What the caller hears: that it stopped the run itself, what failed, or that we have a defect. */
export function toPipelineError(error: unknown, caller: AbortSignal | undefined): PipelineError {
  const stopped = caller?.aborted === true && (error === caller.reason || isAbort(error));
  return stopped ? stopReason(caller.reason) : named(error);
}

function stopReason(reason: unknown): PipelineError {
  if (reason instanceof PipelineError) return reason;
  return new PipelineError(
    "stopped",
    "stopped before the end; what is durable stays so, run again to go on",
  );
}

/** Anything that is not ours is a defect of ours; it is told as such, with its stack kept as the cause. */
function named(error: unknown): PipelineError {
  if (error instanceof PipelineError) return error;
  const code = systemCode(error);
  if (code === "ENOSPC" || code === "EDQUOT") {
    return new PipelineError("disk-full", "the disk is full; make room and run again", {
      cause: error,
    });
  }
  return new PipelineError(
    "internal",
    `an unexpected ${kindOf(error)} stopped the run; run with --debug for its stack`,
    {
      cause: error,
    },
  );
}

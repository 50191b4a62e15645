/** A run under watch: telemetry started, stages clocked, gauges observed, progress told. */
import { kindOf } from "../errors.ts";
import type { Destination } from "../stages/destinations/destination.ts";
import type { Lease } from "../stages/lease.ts";
import type { RowBatch } from "../stages/nouns.ts";
import type { Spool } from "../stages/pages/spool-store.ts";
import type { Log } from "../stages/stage.ts";
import { registerGauges, type GaugeSources } from "../telemetry/gauges.ts";
import { startTelemetry, type Telemetry } from "../telemetry/sdk.ts";
import type { Losses } from "../telemetry/span-ledger.ts";
import { watchRun, type RunWatch } from "../telemetry/watch.ts";
import type { Pool } from "../workers/pool.ts";
import type { Plan } from "./plan-types.ts";
import type { RunFolder } from "./run-folder.ts";
import type { Progress } from "./summary.ts";
import { toolVersion } from "./version.ts";

export interface WatchedInit {
  readonly plan: Plan;
  readonly folder: RunFolder;
  readonly destination: Destination;
  readonly lease: Lease;
  readonly pool: Pool;
  readonly spool: Spool;
  readonly env: Readonly<Record<string, string | undefined>>;
  readonly log: Log;
  readonly caches: GaugeSources["caches"];
}

export type Expected = NonNullable<RowBatch["expects"]>;

export interface PlannedWatch {
  readonly watch: RunWatch;
  readonly lease: Lease;
  /** Calls back a few times a second; gives what ends it, with one last call. */
  reportProgress(
    onProgress: ((progress: Progress) => void) | undefined,
    started: number,
  ): () => void;
  /** Tells the progress how many rows will come. */
  expect(rows: Expected): void;
  committing(): void;
  /** Sends what telemetry is left, up to a deadline; a shorter one when the run is to stop. */
  shutdown(signal: AbortSignal): Promise<void>;
}

const progressMillis = 250;
/** A collector that is down must not keep a finished run from ending. */
const flushMillis = 5000;
const stopFlushMillis = 500;

export async function watchPlannedRun(init: WatchedInit): Promise<PlannedWatch> {
  const { plan, folder, lease, pool, spool, caches } = init;
  const telemetry = await startTelemetry(plan.telemetry, init.env, {
    service: { version: toolVersion },
    log: init.log,
  });
  const pipeline = plan.report.name;
  const watch = watchRun({
    telemetry,
    pipeline,
    runId: folder.record.runId,
    ...(folder.resumed && { resumedFrom: { traceparent: folder.record.traceparent } }),
  });
  const sources = {
    pipeline,
    lease,
    spool,
    pool,
    caches,
    memoryBudgetBytes: plan.report.memoryBytes,
  };
  const removeGauges = telemetry.enabled
    ? registerGauges(telemetry.meter, { ...sources, stats: watch.stats, counters: watch.counters })
    : () => {};
  let phase: Progress["phase"] = "exporting";
  let expected: Expected | undefined;

  const progress = (started: number): Progress => ({
    phase,
    ...watch.counters(),
    expectedRows: expected?.rows,
    expectedExact: expected?.exact ?? false,
    rssBytes: process.memoryUsage.rss(),
    memoryBudgetBytes: plan.report.memoryBytes,
    spoolBytes: spool.usedBytes,
    elapsedMillis: performance.now() - started,
    stages: watch.stats(),
  });

  return {
    watch,
    lease: watch.watchLease(lease),
    reportProgress(onProgress, started) {
      if (!onProgress) return () => {};
      return tellOften(() => onProgress(progress(started)), init.log);
    },
    expect(rows) {
      expected = rows;
    },
    committing() {
      phase = "committing";
    },
    async shutdown(signal) {
      const losses = await flush(telemetry, signal);
      removeGauges();
      const { droppedSpans, exportErrors } = losses;
      if (droppedSpans > 0)
        init.log.warn(`telemetry: ${droppedSpans} spans could not be delivered to the collector`);
      if (exportErrors > 0)
        init.log.warn(
          `telemetry: ${exportErrors} exports failed; the export itself does not depend on them`,
        );
    },
  };
}

/** What a timer calls would end the process when it throws, or when a promise of its own is rejected. */
function tellOften(onProgress: () => unknown, log: Log): () => void {
  let isHeard = true;
  const tell = async () => {
    try {
      if (isHeard) await onProgress();
    } catch (error) {
      if (!isHeard) return;
      isHeard = false;
      log.warn(`onProgress threw ${kindOf(error)}, and is told no more; the run goes on`);
    }
  };
  const timer = setInterval(() => void tell(), progressMillis);
  return () => {
    clearInterval(timer);
    void tell();
  };
}

/** A stop that comes while a collector is waited for ends that wait: the export does not depend on it. */
async function flush(telemetry: Telemetry, signal: AbortSignal): Promise<Losses> {
  if (signal.aborted) return await telemetry.shutdown(stopFlushMillis);
  const flushed = telemetry.shutdown(flushMillis);
  const stopped = new Promise<Losses>((resolve) => {
    signal.addEventListener("abort", () => resolve({ droppedSpans: 0, exportErrors: 1 }));
  });
  return await Promise.race([flushed, stopped]);
}

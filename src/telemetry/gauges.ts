/** Every metric of a run, observed when somebody reads them and never pushed: between two reads they cost nothing. */
import { peakRssBytes } from "./peak-memory.ts";
import { monitorEventLoopDelay } from "node:perf_hooks";
import { getHeapSpaceStatistics } from "node:v8";
import type {
  Attributes,
  BatchObservableCallback,
  BatchObservableResult,
  Meter,
  Observable,
} from "@opentelemetry/api";
import type { Lease } from "../stages/lease.ts";
import type { Pressure } from "../stages/pressure.ts";
import type { Spool } from "../stages/pages/spool-store.ts";
import type { CacheCounters } from "../stages/transforms/lookup-cache.ts";
import type { Pool } from "../workers/pool.ts";
import { attributes, metrics, serveMetrics, type MetricEntry } from "./names.ts";
import type { StageSummary } from "./stage-watch.ts";
import type { RunCounters } from "./watch.ts";

/** What is watched; objects of the run itself, read at each observation. */
export interface GaugeSources {
  /** Whose run it is: several may be under way in one process, and at one collector. */
  readonly pipeline: string;
  readonly lease: Pick<
    Lease,
    "capacityBytes" | "inUseBytes" | "peakBytes" | "waiting" | "pressure"
  >;
  readonly spool: Pick<
    Spool,
    "maxBytes" | "usedBytes" | "peakBytes" | "flushes" | "flushedBytes" | "flushMillis"
  >;
  readonly pool: Pick<Pool, "threads" | "inFlight">;
  readonly memoryBudgetBytes: number;
  readonly stats: () => readonly StageSummary[];
  readonly counters: () => RunCounters;
  readonly caches: readonly CacheCounters[];
}

type Observe = (entry: MetricEntry, value: number, attributes?: Attributes) => void;

/** Registers every metric of names.ts on `meter`; returns what takes them away again. */
export function registerGauges(meter: Meter, sources: GaugeSources): () => void {
  const delay = monitorEventLoopDelay({ resolution: 20 });
  delay.enable();
  const pipeline = { [attributes.pipeline.name]: sources.pipeline };
  const remove = observe(meter, ourMetrics, (observe) => {
    const observeOwn: Observe = (entry, value, named) =>
      observe(entry, value, { ...pipeline, ...named });
    observeRun(observeOwn, sources.counters());
    observeStages(observeOwn, sources.stats());
    observeRoom(observeOwn, sources);
    observeOwn(metrics.memoryBudget, sources.memoryBudgetBytes);
    observePressure(observeOwn, sources.lease.pressure);
    observeCaches(observeOwn, sources.caches);
    observeMemory(observe);
    observeLoop(observe, delay);
  });
  return () => {
    remove();
    delay.disable();
  };
}

/** Registers the two metrics telemetry has of itself. */
export function registerExportGauges(
  meter: Meter,
  losses: { readonly droppedSpans: number; readonly exportErrors: number },
): () => void {
  return observe(meter, exportMetrics, (observe) => {
    observe(metrics.spansDropped, losses.droppedSpans);
    observe(metrics.exportsFailed, losses.exportErrors);
  });
}

const exportMetrics: readonly MetricEntry[] = [metrics.spansDropped, metrics.exportsFailed];
const ourMetrics = Object.values<MetricEntry>(metrics).filter(
  (entry) => !exportMetrics.includes(entry) && !serveMetrics.includes(entry),
);

/** One callback over many instruments, so that a reading is one moment. */
export function observe(
  meter: Meter,
  entries: readonly MetricEntry[],
  read: (observe: Observe) => void,
): () => void {
  const instruments = new Map(entries.map((entry) => [entry, instrumentOf(meter, entry)]));
  const callback: BatchObservableCallback = (result: BatchObservableResult) =>
    read((entry, value, attributes) => {
      const instrument = instruments.get(entry);
      if (instrument) result.observe(instrument, value, attributes);
    });
  const observables = [...instruments.values()];
  meter.addBatchObservableCallback(callback, observables);
  return () => meter.removeBatchObservableCallback(callback, observables);
}

function instrumentOf(meter: Meter, entry: MetricEntry): Observable {
  const options = { unit: entry.unit, description: entry.sentence };
  if (entry.instrument === "counter") return meter.createObservableCounter(entry.name, options);
  if (entry.instrument === "gauge") return meter.createObservableGauge(entry.name, options);
  return meter.createObservableUpDownCounter(entry.name, options);
}

function observeRun(observe: Observe, run: RunCounters): void {
  observe(metrics.runRows, run.rows);
  observe(metrics.runPages, run.pages);
  observe(metrics.runUploaded, run.pagesUploaded);
  observe(metrics.runSerialized, run.bytesIn);
  observe(metrics.runSealed, run.bytesOut);
}

/** Each with a name of its own: two `lookup` are `lookup` and `lookup 2`, or the points of one would replace the other's. */
function* apart<T extends { readonly name: string }>(all: readonly T[]): Generator<[string, T]> {
  const seen = new Map<string, number>();
  for (const one of all) {
    const times = (seen.get(one.name) ?? 0) + 1;
    seen.set(one.name, times);
    yield [times === 1 ? one.name : `${one.name} ${times}`, one];
  }
}

function observeStages(observe: Observe, stages: readonly StageSummary[]): void {
  for (const [name, stage] of apart(stages)) {
    const named = { [attributes.stage.name]: name };
    const inState = (state: string) => ({ ...named, [attributes.state.name]: state });
    observe(metrics.stageRows, stage.rows, named);
    observe(metrics.stageBytes, stage.bytes, named);
    observe(metrics.stageHeld, stage.peakHeldBytes, named);
    observe(metrics.stageTime, stage.busySeconds, inState("busy"));
    observe(metrics.stageTime, stage.starvedSeconds, inState("starved"));
    observe(metrics.stageTime, stage.blockedSeconds, inState("blocked"));
  }
}

function observeRoom(observe: Observe, { lease, spool, pool }: GaugeSources): void {
  observe(metrics.leaseCapacity, lease.capacityBytes);
  observe(metrics.leaseInUse, lease.inUseBytes);
  observe(metrics.leasePeak, lease.peakBytes);
  observe(metrics.leaseWaiting, lease.waiting);
  observe(metrics.spoolLimit, spool.maxBytes);
  observe(metrics.spoolUsed, spool.usedBytes);
  observe(metrics.spoolPeak, spool.peakBytes);
  observe(metrics.spoolFlushes, spool.flushes);
  observe(metrics.spoolFlushed, spool.flushedBytes);
  observe(metrics.spoolFlushTime, spool.flushMillis / 1000);
  observe(metrics.workerThreads, pool.threads);
  observe(metrics.workerTasks, pool.inFlight);
}

/** The process's, whoever runs in it. */
function observeMemory(observe: Observe): void {
  const { rss, external, arrayBuffers } = process.memoryUsage();
  observe(metrics.memoryUsage, rss);
  // Linux and macOS agree on what this is; Node gives it in KiB on both.
  observe(metrics.memoryPeak, Math.max(rss, peakRssBytes()));
  observe(metrics.memoryExternal, external);
  observe(metrics.memoryBuffers, arrayBuffers);
  for (const space of getHeapSpaceStatistics()) {
    const named = { [attributes.heapSpace.name]: space.space_name };
    observe(metrics.heapUsed, space.space_used_size, named);
  }
}

function observePressure(observe: Observe, pressure: Pressure): void {
  const { settings, step, share, reached, collections } = pressure;
  observe(metrics.memoryThreshold, settings.threshold * settings.budgetBytes);
  observe(metrics.memoryStep, step);
  observe(metrics.memoryShare, share);
  observe(metrics.memoryCollections, collections);
  for (const [index, times] of reached.entries())
    observe(metrics.memorySteps, times, { [attributes.step.name]: index + 1 });
}

/** The delays since the last reading, in seconds: a percentile over a whole run would hide what happens now. */
function observeLoop(observe: Observe, delay: ReturnType<typeof monitorEventLoopDelay>): void {
  observe(metrics.loopDelayP50, delay.percentile(50) / 1e9);
  observe(metrics.loopDelayP99, delay.percentile(99) / 1e9);
  observe(metrics.loopDelayMax, delay.max / 1e9);
  delay.reset();
}

function observeCaches(observe: Observe, caches: readonly CacheCounters[]): void {
  for (const [name, cache] of apart(caches)) {
    const named = { [attributes.cache.name]: name };
    observe(metrics.cacheHits, cache.hits, named);
    observe(metrics.cacheLoads, cache.loads, named);
    observe(metrics.cacheFailures, cache.loadFailures, named);
    observe(metrics.cacheTime, cache.loadMillis / 1000, named);
    observe(metrics.cacheEvictions, cache.evictions, named);
    observe(metrics.cacheBytes, cache.bytes, named);
  }
}

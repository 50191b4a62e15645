/**
 * Every name that telemetry says, with its unit (UCUM) and a sentence. Nothing else in the code spells one.
 *
 * OpenTelemetry's semantic conventions are used where they have a name; the rest begins with `spillway.`.
 */

export interface SpanEntry {
  readonly name: string;
  readonly sentence: string;
}

export interface AttributeEntry {
  readonly name: string;
  readonly sentence: string;
}

export interface MetricEntry {
  readonly name: string;
  /** How the value behaves: `counter` only grows, `upDownCounter` adds up over processes, `gauge` does not. */
  readonly instrument: "counter" | "upDownCounter" | "gauge";
  readonly unit: string;
  readonly sentence: string;
}

const span = (name: string, sentence: string): SpanEntry => ({ name, sentence });
const attribute: (name: string, sentence: string) => AttributeEntry = span;
const metric =
  (instrument: MetricEntry["instrument"]) =>
  (name: string, unit: string, sentence: string): MetricEntry => ({
    name,
    instrument,
    unit,
    sentence,
  });
const counter = metric("counter");
const upDownCounter = metric("upDownCounter");
const gauge = metric("gauge");

export const spans = {
  run: span("export", "One run; the span is named `export <pipeline>`."),
  stage: span(
    "stage",
    "One stage from its first pull to its end; named `stage <name>`, child of the run.",
  ),
  page: span("page", "A page's journey: from leaving `chunk` to its receipt; child of the run."),
  seal: span("seal", "The time a worker compressed and encrypted the page; child of the page."),
  spool: span("spool", "From entering the spool to being durable; child of the page."),
  upload: span("upload", "From entering the upload to the receipt; child of the page."),
} as const;

export const attributes = {
  runId: attribute("spillway.run.id", "Id of the run."),
  pipeline: attribute("spillway.pipeline", "Name of the pipeline."),
  bottleneck: attribute("spillway.run.bottleneck", "The stage with the largest busy share."),
  fattest: attribute("spillway.run.fattest", "The stage that held the most bytes at once."),
  pages: attribute("spillway.run.pages", "Pages that left `chunk`."),
  pagesCutShort: attribute(
    "spillway.run.pages.cut_short",
    "Pages followed from their upload on only, because too many waited for it.",
  ),
  stage: attribute("spillway.stage.name", "Name of the stage."),
  stageRows: attribute("spillway.stage.rows", "Rows or records the stage gave on."),
  stageBytes: attribute("spillway.stage.bytes", "Bytes the stage gave on."),
  busy: attribute("spillway.stage.busy_seconds", "Seconds of work."),
  starved: attribute("spillway.stage.starved_seconds", "Seconds of waiting for the stage before."),
  blocked: attribute("spillway.stage.blocked_seconds", "Seconds of waiting for the stage after."),
  peakHeld: attribute("spillway.stage.peak_held_bytes", "Most bytes the stage had in hand."),
  state: attribute("spillway.stage.state", "`busy`, `starved` or `blocked`."),
  step: attribute("spillway.memory.step", "Number of a step of memory pressure, from 1."),
  pageNumber: attribute("spillway.page.number", "Number of the page, from 0."),
  pageRecords: attribute("spillway.page.records", "Records that end in the page."),
  pageBytes: attribute("spillway.page.bytes", "Serialized bytes of the page."),
  pageSealedBytes: attribute("spillway.page.sealed_bytes", "Bytes as stored."),
  pageOutcome: attribute("spillway.page.outcome", "`uploaded`, or `aborted` when the run ended."),
  cache: attribute("spillway.cache.name", "The stage that keeps the cache."),
  outcome: attribute(
    "spillway.serve.outcome",
    "What became of a slot: `committed`, `skipped`, `stopped` or `failed`.",
  ),
  heapSpace: attribute("v8js.heap.space.name", "The V8 heap space."),
  dbSystem: attribute("db.system.name", "The database system of a source stage."),
  errorType: attribute("error.type", "The error code, such as `source-failed`."),
} as const;

export const metrics = {
  runRows: counter("spillway.run.rows", "{row}", "Records serialized."),
  runPages: counter("spillway.run.pages", "{page}", "Pages that left `chunk`."),
  runUploaded: counter("spillway.run.pages.uploaded", "{page}", "Pages with a receipt."),
  runSerialized: counter("spillway.run.serialized", "By", "Serialized bytes."),
  runSealed: counter("spillway.run.sealed", "By", "Sealed bytes that became durable."),
  stageRows: counter("spillway.stage.rows", "{row}", "Rows or records each stage gave on."),
  stageBytes: counter("spillway.stage.bytes", "By", "Bytes each stage gave on."),
  stageTime: counter("spillway.stage.time", "s", "Time of each stage, by state."),
  stageHeld: gauge("spillway.stage.held.peak", "By", "Most bytes each stage had in hand."),
  leaseCapacity: upDownCounter("spillway.lease.capacity", "By", "Page memory there is."),
  leaseInUse: upDownCounter("spillway.lease.in_use", "By", "Page memory lent out."),
  leasePeak: gauge("spillway.lease.peak", "By", "Most page memory lent out at once."),
  leaseWaiting: upDownCounter("spillway.lease.waiting", "{request}", "Requests for page memory."),
  spoolLimit: upDownCounter("spillway.spool.limit", "By", "Bytes the spool may hold."),
  spoolUsed: upDownCounter("spillway.spool.used", "By", "Bytes of pages in the spool."),
  spoolPeak: gauge("spillway.spool.peak", "By", "Most bytes of pages in the spool."),
  spoolFlushes: counter("spillway.spool.flushes", "{flush}", "Groups of pages made durable."),
  spoolFlushed: counter("spillway.spool.flushed", "By", "Bytes of pages made durable by flushes."),
  spoolFlushTime: counter("spillway.spool.flush.time", "s", "Time spent writing and syncing them."),
  workerThreads: upDownCounter("spillway.workers.threads", "{thread}", "Worker threads."),
  workerTasks: upDownCounter("spillway.workers.in_flight", "{task}", "Tasks given to workers."),
  memoryBudget: upDownCounter("spillway.memory.budget", "By", "`memory` of the pipeline."),
  memoryUsage: upDownCounter("process.memory.usage", "By", "Resident memory (RSS)."),
  memoryPeak: gauge("spillway.memory.peak", "By", "Peak resident memory of the process."),
  memoryThreshold: upDownCounter("spillway.memory.threshold", "By", "Where the last step is."),
  memoryStep: gauge("spillway.memory.step", "{step}", "Step of memory pressure; 0 is none."),
  memoryShare: gauge("spillway.memory.share", "1", "Share of batches and pages at this step."),
  memorySteps: counter("spillway.memory.steps", "{step}", "Times each step was reached."),
  memoryCollections: counter("spillway.memory.collections", "{collection}", "Asked for by steps."),
  memoryExternal: upDownCounter("spillway.memory.external", "By", "Memory of bound C++ objects."),
  memoryBuffers: upDownCounter("spillway.memory.array_buffers", "By", "Memory of array buffers."),
  heapUsed: upDownCounter("v8js.memory.heap.used", "By", "Heap in use, by heap space."),
  loopDelayP50: gauge("nodejs.eventloop.delay.p50", "s", "Median event-loop delay."),
  loopDelayP99: gauge("nodejs.eventloop.delay.p99", "s", "99th percentile of it."),
  loopDelayMax: gauge("nodejs.eventloop.delay.max", "s", "Longest event-loop delay."),
  cacheHits: counter("spillway.cache.hits", "{lookup}", "Lookups answered from the cache."),
  cacheLoads: counter("spillway.cache.loads", "{lookup}", "Keys and rows that were loaded."),
  cacheFailures: counter("spillway.cache.load.failures", "{load}", "Loads that failed."),
  cacheTime: counter("spillway.cache.load.time", "s", "Time spent loading."),
  cacheEvictions: counter("spillway.cache.evictions", "{entry}", "Entries that made room."),
  cacheBytes: upDownCounter("spillway.cache.bytes", "By", "Memory of the entries, about."),
  serveSlots: counter("spillway.serve.slots", "{slot}", "Runs for slots, and slots skipped."),
  serveRunning: upDownCounter("spillway.serve.running", "{run}", "Runs of `serve` under way."),
  spansDropped: counter("spillway.telemetry.spans.dropped", "{span}", "Spans that were lost."),
  exportsFailed: counter("spillway.telemetry.exports.failed", "{request}", "Failed exports."),
} as const;

/** Those of `spillway serve`, which no run emits. */
export const serveMetrics: readonly MetricEntry[] = [metrics.serveSlots, metrics.serveRunning];

/** Source stages that ask a database, and what their span says of it: no URL, no query text. */
export const clientStages: Readonly<Record<string, Readonly<Record<string, string>>>> = {
  postgres: { [attributes.dbSystem.name]: "postgresql" },
  "postgres-copy": { [attributes.dbSystem.name]: "postgresql" },
  mysql: { [attributes.dbSystem.name]: "mysql" },
  sqlite: { [attributes.dbSystem.name]: "sqlite" },
  duckdb: { [attributes.dbSystem.name]: "duckdb" },
};

/** Name of the tracer and the meter. */
export const scope = "spillway";

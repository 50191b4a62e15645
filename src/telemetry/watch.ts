/**
 * The one wrapper: every stage of a run is timed, counted and traced the same way, and knows nothing of it.
 *
 * Numbers are kept whether or not telemetry is on; they make the progress line, the summary and the gauges.
 */
import type { Attributes, Context, Tracer } from "@opentelemetry/api";
import type { Lease } from "../stages/lease.ts";
import { attributes } from "./names.ts";
import { startRunSpans, type RunSpans } from "./run-spans.ts";
import {
  watchStage,
  type OpenStage,
  type StageInfo,
  type StageListener,
  type StageSummary,
  type StageWatch,
} from "./stage-watch.ts";

export interface WatchInit {
  readonly telemetry: {
    readonly enabled: boolean;
    readonly tracer: Tracer;
    readonly parent: Context;
  };
  readonly pipeline: string;
  readonly runId: string;
  /** The attempt this run goes on with; its span is linked. */
  readonly resumedFrom?: { readonly traceparent?: string | undefined } | undefined;
  /** More attributes of the run's span. */
  readonly attributes?: Attributes;
}

/** Totals of a run, for progress and metrics. */
export interface RunCounters {
  /** Records serialized. */
  readonly rows: number;
  /** Pages that left `chunk`. */
  readonly pages: number;
  /** Serialized bytes. */
  readonly bytesIn: number;
  /** Sealed bytes that became durable. */
  readonly bytesOut: number;
  readonly pagesUploaded: number;
}

export interface RunWatch {
  /** Watches a stage: iterate the result in its place. `open` is called once, at the first iteration. */
  wrap(stage: StageInfo, input: AsyncIterable<unknown>, open: OpenStage): AsyncIterable<unknown>;
  /** The lease to give to stages: waiting for page memory counts as blocked, not as work. */
  watchLease(lease: Lease): Lease;
  /** One entry a stage, in the order they were wrapped. */
  stats(): StageSummary[];
  counters(): RunCounters;
  /** The stage with the most seconds of work. */
  bottleneck(): string | null;
  /** The stage that held the most bytes at once. */
  fattest(): string | null;
  readonly traceId: string | null;
  /** Of the run's span: to be kept with the run, so that a later attempt can link to it. */
  readonly traceparent: string | null;
  /** Ends the run's span, as failed when there is an error. A second call does nothing. */
  end(error?: unknown): void;
}

const silent: StageListener = { opened() {}, took() {}, gave() {}, closed() {} };

export function watchRun(init: WatchInit): RunWatch {
  const stages: StageWatch[] = [];
  const spans = init.telemetry.enabled ? openSpans(init) : undefined;
  const stats = () => stages.map((stage) => stage.stats());
  const bottleneck = () => largest(stats(), (stage) => stage.busySeconds);
  const fattest = () => largest(stats(), (stage) => stage.peakHeldBytes);
  const counters = () => countersOf(stages);
  let ended = false;

  return {
    wrap(info, input, open) {
      const stage = watchStage(info, spans ?? silent);
      stages.push(stage);
      return stage.wrap(input, open);
    },
    watchLease: (lease) => watchLease(lease, stages),
    stats,
    counters,
    bottleneck,
    fattest,
    traceId: spans?.traceId ?? null,
    traceparent: spans?.traceparent ?? null,
    end(error) {
      if (ended) return;
      ended = true;
      const facts = {
        [attributes.pages.name]: counters().pages,
        [attributes.bottleneck.name]: bottleneck() ?? "",
        [attributes.fattest.name]: fattest() ?? "",
      };
      spans?.end(facts, error === undefined ? undefined : { reason: error });
    },
  };
}

function openSpans(init: WatchInit): RunSpans {
  return startRunSpans({
    tracer: init.telemetry.tracer,
    parent: init.telemetry.parent,
    pipeline: init.pipeline,
    resumed: init.resumedFrom?.traceparent,
    attributes: {
      ...init.attributes,
      [attributes.runId.name]: init.runId,
      [attributes.pipeline.name]: init.pipeline,
    },
  });
}

function countersOf(stages: readonly StageWatch[]): RunCounters {
  const giving = (kind: StageInfo["gives"]) => stages.findLast(({ info }) => info.gives === kind);
  const serialized = giving("records")?.stats();
  return {
    rows: serialized?.rows ?? 0,
    pages: giving("pages")?.items ?? 0,
    bytesIn: serialized?.bytes ?? 0,
    bytesOut: giving("durable")?.stats().bytes ?? 0,
    pagesUploaded: giving("receipts")?.items ?? 0,
  };
}

/** Only the stage where pages are born takes from the lease. */
function watchLease(lease: Lease, stages: readonly StageWatch[]): Lease {
  return {
    capacityBytes: lease.capacityBytes,
    pressure: lease.pressure,
    get inUseBytes() {
      return lease.inUseBytes;
    },
    get peakBytes() {
      return lease.peakBytes;
    },
    get waiting() {
      return lease.waiting;
    },
    async take(size, weight, signal) {
      const clock = stages.find(({ info }) => info.gives === "pages")?.clock;
      clock?.waits();
      try {
        return await lease.take(size, weight, signal);
      } finally {
        clock?.served();
      }
    },
  };
}

function largest(
  stages: readonly StageSummary[],
  of: (stage: StageSummary) => number,
): string | null {
  let best: StageSummary | undefined;
  for (const stage of stages) {
    if (of(stage) > 0 && (!best || of(stage) > of(best))) best = stage;
  }
  return best?.name ?? null;
}

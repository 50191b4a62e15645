/** The metrics of `spillway serve`, which has no run of its own. */
import type { Meter } from "@opentelemetry/api";
import { observe } from "./gauges.ts";
import { attributes, metrics, serveMetrics } from "./names.ts";

export interface ServedCounts {
  readonly pipeline: string;
  readonly running: boolean;
  /** Slots by what became of them. */
  readonly slots: Readonly<Record<string, number>>;
}

/** Registers them on `meter`; returns what takes them away again. */
export function registerServeGauges(meter: Meter, read: () => readonly ServedCounts[]): () => void {
  return observe(meter, serveMetrics, (observe) => {
    for (const { pipeline, running, slots } of read()) {
      const named = { [attributes.pipeline.name]: pipeline };
      observe(metrics.serveRunning, running ? 1 : 0, named);
      for (const [outcome, count] of Object.entries(slots))
        observe(metrics.serveSlots, count, { ...named, [attributes.outcome.name]: outcome });
    }
  });
}

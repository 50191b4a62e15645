/** The objects gauges look at, when nothing happens. */
import type { GaugeSources } from "../../src/telemetry/gauges.ts";

export const idleSources: Omit<GaugeSources, "stats" | "counters"> = {
  lease: { capacityBytes: 32, inUseBytes: 16, peakBytes: 24, waiting: 1 },
  spool: { maxBytes: 1024, usedBytes: 512, peakBytes: 768, flushes: 3, flushMillis: 1500 },
  pool: { threads: 2, inFlight: 1 },
  memoryBudgetBytes: 96 * 1024 * 1024,
};

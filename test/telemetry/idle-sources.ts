/** The objects gauges look at, when nothing happens. */
import type { Pressure } from "../../src/stages/pressure.ts";
import type { GaugeSources } from "../../src/telemetry/gauges.ts";

/** Pressed to the second of four steps. */
const pressure: Pressure = {
  settings: { budgetBytes: 96 * 1024 * 1024, threshold: 0.5, graduality: 4, spareBytes: 0 },
  step: 2,
  reached: [3, 2, 0, 0],
  collections: 5,
  share: 0.5,
  passed() {},
  settle() {},
};

export const idleSources: Omit<GaugeSources, "stats" | "counters"> = {
  pipeline: "p",
  lease: { capacityBytes: 32, inUseBytes: 16, peakBytes: 24, waiting: 1, pressure },
  spool: {
    maxBytes: 1024,
    usedBytes: 512,
    peakBytes: 768,
    flushes: 3,
    flushedBytes: 300,
    flushMillis: 1500,
  },
  pool: { threads: 2, inFlight: 1 },
  caches: [],
  memoryBudgetBytes: 96 * 1024 * 1024,
};

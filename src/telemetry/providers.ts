/** What starting an SDK takes and gives, whichever SDK it is. */
import type { Meter, Tracer } from "@opentelemetry/api";
import type { Losses } from "./span-ledger.ts";

/** What an SDK gives. */
export interface Providers {
  readonly tracer: Tracer;
  readonly meter: Meter;
  /** Flushes what is left, for `deadlineMillis` at most, and tells what was lost. */
  shutdown(deadlineMillis: number): Promise<Losses>;
}

export interface StartOptions {
  readonly queueSpans: number;
  readonly version: string | undefined;
  readonly warn: (message: string) => void;
}

/** Books of every span that ended: delivered, or lost and counted. There is no third way. */

export interface Losses {
  readonly droppedSpans: number;
  readonly exportErrors: number;
}

export interface SpanLedger extends Losses {
  /** A sampled span ended. */
  ended(): void;
  /** So many of those have arrived, and so many never will. */
  settled(delivered: number, lost: number): void;
  /** A request failed for good, whatever it carried. */
  failed(): void;
  /** At the end: what waits still or is on its way is lost as well. */
  close(): Losses;
}

export function createSpanLedger(): SpanLedger {
  let open = 0;
  let droppedSpans = 0;
  let exportErrors = 0;
  return {
    get droppedSpans() {
      return droppedSpans;
    },
    get exportErrors() {
      return exportErrors;
    },
    ended() {
      open += 1;
    },
    settled(delivered, lost) {
      open -= delivered + lost;
      droppedSpans += lost;
    },
    failed() {
      exportErrors += 1;
    },
    close() {
      droppedSpans += open;
      open = 0;
      return { droppedSpans, exportErrors };
    },
  };
}

/** Books of every span that ended: delivered, or lost and counted. There is no third way. */

export interface Losses {
  readonly droppedSpans: number;
  readonly exportErrors: number;
}

export interface SpanLedger extends Losses {
  /** A sampled span ended and was offered to the queue. */
  ended(): void;
  /** The queue handed this many to the exporter. */
  handed(spans: number): void;
  /** Of those, so many have arrived, and so many never will. */
  settled(spans: number, lost: number): void;
  /** A request failed for good, whatever it carried. */
  failed(): void;
  /** At the end: whatever waits still or is on its way is lost as well. */
  close(): Losses;
}

/** @param capacity spans the queue holds; it drops what comes when it is full, so we can count along */
export function createSpanLedger(capacity: number): SpanLedger {
  let queued = 0;
  let onTheWay = 0;
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
      if (queued >= capacity) droppedSpans += 1;
      else queued += 1;
    },
    handed(spans) {
      queued -= spans;
      onTheWay += spans;
    },
    settled(spans, lost) {
      onTheWay -= spans;
      droppedSpans += lost;
    },
    failed() {
      exportErrors += 1;
    },
    close() {
      droppedSpans += queued + onTheWay;
      queued = 0;
      onTheWay = 0;
      return { droppedSpans, exportErrors };
    },
  };
}

/** Tells where records end, whatever the format; `records.ts` makes the one of each. */

/** Remembers what it has seen: made once for an export, fed every page in order. */
export interface RecordScanner {
  /** Calls `each` with the offset after each record, and after a CSV header, that ends in `bytes`. */
  scan(bytes: Uint8Array, each: RecordEnd): void;
  /** Whether what was scanned so far ends inside a record. */
  readonly isInside: boolean;
}

export type RecordEnd = (end: number, isHeader: boolean) => void;

/** What a format must be able to do, and the growing buffer its records are written to. */
import type { Row, RowBatch } from "../nouns.ts";

/** Writes one batch after another; made once a run, so it may remember columns and whether a row came before. */
export interface RecordWriter {
  /** Framing before the first record (a CSV header), given the first batch. */
  header(batch: RowBatch, out: RecordBuffer): void;
  /** One record a row. */
  write(batch: RowBatch, out: RecordBuffer): void;
  /** Framing after the last record. */
  footer(out: RecordBuffer): void;
}

export interface Format {
  readonly extension: string;
  /** The names that a document is written with. */
  namesOf(row: Row): readonly string[];
  writer(): RecordWriter;
}

const initialBytes = 256 * 1024;
/** A buffer grown beyond this by a wide batch is given up again when the next batch is small. */
const keptBytes = 4 * 1024 * 1024;

/** Records back to back in memory that is used again for every batch. */
export interface RecordBuffer {
  /** Appends text as UTF-8 and ends the record there. */
  add(record: string): void;
  /** The bytes so far and where records end in them; valid until `reset`. */
  view(): { bytes: Uint8Array; ends: Uint32Array };
  reset(): void;
}

export function createRecordBuffer(): RecordBuffer {
  let memory = Buffer.allocUnsafeSlow(initialBytes);
  let ends = new Uint32Array(1024);
  let length = 0;
  let count = 0;

  const makeRoom = (bytes: number) => {
    if (length + bytes <= memory.length) return;
    const larger = Buffer.allocUnsafeSlow(Math.max(memory.length * 2, length + bytes));
    memory.copy(larger, 0, 0, length);
    memory = larger;
  };

  return {
    add(record) {
      // UTF-8 needs at most three bytes for a UTF-16 unit; a long record is measured, not guessed.
      const most = record.length < keptBytes ? record.length * 3 : Buffer.byteLength(record);
      makeRoom(most);
      length += memory.write(record, length, "utf8");
      if (count === ends.length) {
        const more = new Uint32Array(ends.length * 2);
        more.set(ends);
        ends = more;
      }
      ends[count] = length;
      count += 1;
    },
    view: () => ({
      // No Buffer: its `slice` would not copy, and copying is how a batch is kept.
      bytes: new Uint8Array(memory.buffer, memory.byteOffset, length),
      ends: ends.subarray(0, count),
    }),
    reset() {
      if (memory.length > keptBytes && length < keptBytes / 4) {
        memory = Buffer.allocUnsafeSlow(initialBytes);
      }
      length = 0;
      count = 0;
    },
  };
}

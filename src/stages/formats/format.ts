/** What a format must be able to do. */
import type { Column, Row, RowBatch, Tuple } from "../nouns.ts";
import type { RecordBuffer } from "./record-buffer.ts";

/** Bytes of a Parquet footer at most, which is kept until the end. */
export const footerMost = 8 * 1024 * 1024;

/** Writes one batch after another; made once a run, so it may remember columns and whether a row came before. */
export interface RecordWriter {
  /** Framing before the first record (a CSV header), given the first batch and the columns that are written. */
  header(batch: RowBatch, out: RecordBuffer, columns: readonly Column[]): void;
  /** What appends one record for each row of a batch that it is given. */
  rows(batch: RowBatch): (row: Tuple | Row, out: RecordBuffer) => void;
  /** What is still to be written, in pieces: each time some lies in `out`, it says whether that is framing. */
  rest?(out: RecordBuffer): Iterable<boolean>;
  /** Framing after the last record. */
  footer(out: RecordBuffer): void;
}

export interface Format {
  readonly extension: string;
  /** The names that a document is written with. */
  namesOf(row: Row): readonly string[];
  /** @param goesOn true where an earlier attempt wrote the header and records */
  writer(goesOn?: boolean): RecordWriter;
}

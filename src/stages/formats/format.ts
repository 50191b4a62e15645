/** What a format must be able to do. */
import type { Row, RowBatch } from "../nouns.ts";
import type { RecordBuffer } from "./record-buffer.ts";

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
  /** @param goesOn true where an earlier attempt wrote the header and records */
  writer(goesOn?: boolean): RecordWriter;
}

/** Rows through `serialize`, as the text of the file. */
import * as v from "valibot";
import type { Column, RecordBatch, Row, RowBatch, Tuple } from "../../../src/stages/nouns.ts";
import type { CsvOptions } from "../../../src/stages/formats/csv-dialect.ts";
import { serialize } from "../../../src/stages/formats/serialize.ts";
import { testContext } from "../../contract/stage-contract.ts";
import { documentBatches, stream, tupleBatches } from "../../fixtures/pipelines.ts";

export type FormatName = "ndjson" | "csv" | "json" | "parquet";

/** Every record with its framing mark; batches are copied, for they are valid only until the next one. */
export async function recordsOf(
  format: FormatName,
  batches: Iterable<RowBatch>,
  dialect: CsvOptions = {},
) {
  const records: { text: string; framing: boolean }[] = [];
  let last: RecordBatch | undefined;
  const config = v.parse(serialize.config, { format, ...dialect });
  for await (const batch of serialize.open(config, testContext(), stream(batches))) {
    last = batch;
    const bytes = Buffer.from(batch.bytes);
    let start = 0;
    for (const end of Array.from(batch.ends)) {
      records.push({ text: bytes.subarray(start, end).toString(), framing: batch.framing });
      start = end;
    }
  }
  return { records, last: last! };
}

const joined = async (format: FormatName, batches: Iterable<RowBatch>) =>
  (await recordsOf(format, batches)).records.map(({ text }) => text).join("");

export const writeTuples = (
  format: FormatName,
  columns: readonly Column[],
  rows: readonly Tuple[],
  pieces = 1,
) => joined(format, tupleBatches(columns, rows, pieces));

export const writeDocuments = (
  format: FormatName,
  rows: readonly Row[],
  columns: readonly Column[] = [],
  pieces = 1,
) => joined(format, documentBatches(rows, pieces, columns));

/** A Parquet file, and how many records it was given as. */
export async function writeParquet(batches: Iterable<RowBatch>, rowGroup = "1MiB") {
  const pieces: Buffer[] = [];
  let records = 0;
  const config = v.parse(serialize.config, { format: "parquet", rowGroup });
  for await (const batch of serialize.open(config, testContext(), stream(batches))) {
    pieces.push(Buffer.from(batch.bytes));
    if (!batch.framing) records += batch.ends.length;
  }
  const bytes = Buffer.concat(pieces);
  return { records, file: bytes.buffer.slice(bytes.byteOffset, bytes.byteOffset + bytes.length) };
}

/**
 * what    rows become records: the bytes of the file, cut where records end
 * takes   rows · gives records
 * holds   one batch of records
 * order   kept
 * ends    framing after the last record; no rows give only framing
 * fails   transform-failed (rows that the format cannot hold)
 */
import * as v from "valibot";
import { size } from "../atoms.ts";
import { PipelineError, assert, kindOf } from "../../errors.ts";
import type { Column, RecordBatch, RowBatch } from "../nouns.ts";
import { defineStage } from "../stage.ts";
import { csv } from "./csv.ts";
import { csvOptions, dialectOf, issueAt, refuseClashes, refuseUnlessCsv } from "./csv-dialect.ts";
import { footerMost, type Format, type RecordWriter } from "./format.ts";
import { json } from "./json.ts";
import { ndjson } from "./ndjson.ts";
import { createRecordBuffer, type RecordBuffer } from "./record-buffer.ts";

/** The format as configured; Parquet's library is loaded where it is wanted. */
async function chooseFormat(config: Config): Promise<Format> {
  const { format, rowGroup = rowGroupBytes } = config;
  if (format === "parquet") return (await import("./parquet.ts")).parquet(rowGroup);
  if (format === "csv") return csv(dialectOf(config));
  return format === "json" ? json : ndjson;
}

/** Records of one usual batch; a wider row is held on top, as its source already holds it. */
const batchBytes = 1024 * 1024;

/** A row group of Parquet in every form its values take. */
const formsOfGroup = 10;
const rowGroupBytes = 1024 * 1024;

const fields = v.strictObject({
  format: v.pipe(
    v.picklist(["ndjson", "csv", "json", "parquet"], "expected ndjson, csv, json or parquet"),
    v.description(
      "`ndjson` one JSON object a line · `csv` as PostgreSQL's COPY prints it · `json` one array · `parquet` one file of typed columns",
    ),
  ),
  ...csvOptions,
  rowGroup: v.pipe(
    v.optional(size),
    v.description(
      "`parquet` alone: bytes of values in a row group, 1MiB by default; larger ones make a smaller file that is read faster, and take ten times as much memory",
    ),
  ),
});

const refuseRowGroup = v.rawCheck<v.InferOutput<typeof fields>>(({ dataset, addIssue }) => {
  if (!dataset.typed || dataset.value.format === "parquet") return;
  if (dataset.value.rowGroup !== undefined)
    addIssue(issueAt(dataset, "rowGroup", "goes with `format: parquet` alone"));
});

const config = v.pipe(
  fields,
  refuseUnlessCsv<v.InferOutput<typeof fields>>(),
  refuseRowGroup,
  refuseClashes<v.InferOutput<typeof fields>>(),
);

type Config = v.InferOutput<typeof config>;

export const serialize = defineStage({
  name: "serialize",
  summary: "Turns rows into records of a file format.",
  config,
  shorthand: "format",
  takes: "rows",
  gives: "records",
  holds: ({ format, rowGroup = rowGroupBytes }) =>
    batchBytes + (format === "parquet" ? formsOfGroup * rowGroup + footerMost : 0),
  async *open(config, _ctx, input) {
    const chosen = await chooseFormat(config);
    const { extension } = chosen;
    let records = chosen.writer();
    const out = createRecordBuffer();
    let goesOn = false;
    let last: RowBatch | undefined;
    let begun = false;
    let columns: readonly Column[] = [];
    for await (const batch of input) {
      last = batch;
      if (batch.from) {
        goesOn = true;
        records = chosen.writer(goesOn);
        yield { ...out.view(), framing: true, columns, extension, from: batch.from };
      }
      // Without rows a batch may still speak of columns that a row function is about to change.
      if (batch.rows.length === 0 && (begun || !batch.end)) continue;
      if (!begun) {
        begun = true;
        columns = writtenColumns(batch, chosen);
        guarded(() => records.header(batch, out, columns));
        // It lies in a page already.
        if (goesOn) out.reset();
        yield* take(out, { columns, extension, framing: true });
      }
      const write = records.rows(batch);
      for (let at = 0, next = 0; at < batch.rows.length; at = next) {
        next = guarded(() => fill(out, batch.rows, at, write));
        const marks = batch.marks?.slice(at, next);
        yield* take(out, { columns, extension, framing: false, ...(marks && { marks }) });
      }
    }
    assert(last?.end, "a source ends with its proof");
    for (const framing of records.rest?.(out) ?? [])
      yield* take(out, { columns, extension, framing });
    records.footer(out);
    yield { ...out.view(), framing: true, columns, extension, end: last.end };
  },
});

/**
 * What records have, told to the manifest for all to read: of documents it is the first one's names, for a source's
 * column may have been dropped on the way; its type is the source's where that is known, else `any`.
 */
function writtenColumns(batch: RowBatch, { namesOf }: Format): readonly Column[] {
  if (batch.shape === "tuples") return batch.columns;
  const hints = new Map(batch.columns.map((column) => [column.name, column]));
  const names = batch.rows[0] ? namesOf(batch.rows[0]) : [];
  return names.map((name) => hints.get(name) ?? { name, type: "any", json: "value" });
}

/** Writes rows from `at` on until they make a usual batch, for escaped they may be several times as large; gives the next. */
function fill(
  out: RecordBuffer,
  rows: RowBatch["rows"],
  at: number,
  write: ReturnType<RecordWriter["rows"]>,
): number {
  let next = at;
  for (; next < rows.length && out.length < batchBytes; next += 1) write(rows[next]!, out);
  return next;
}

function* take(
  out: RecordBuffer,
  facts: Omit<RecordBatch, "bytes" | "ends">,
): Generator<RecordBatch> {
  const { bytes, ends } = out.view();
  assert(!facts.marks || facts.marks.length === ends.length, "every record has its row's mark");
  if (ends.length > 0) yield { bytes, ends, ...facts };
  out.reset();
}

/** A row no string can hold is the row's fault, not ours. */
function guarded<T>(write: () => T): T {
  try {
    return write();
  } catch (error) {
    if (error instanceof RangeError) {
      throw new PipelineError(
        "transform-failed",
        "serialize: a record is longer than the 512 MiB a text can have; split it or leave the large column out",
      );
    }
    if (error instanceof TypeError) {
      throw new PipelineError(
        "transform-failed",
        "serialize: a row holds what JSON cannot say, such as an object that contains itself; give plain values",
        { cause: error },
      );
    }
    if (error instanceof PipelineError) throw error;
    // A `toJSON` or a getter of what stands in the row.
    throw new PipelineError(
      "transform-failed",
      `serialize: a value threw ${kindOf(error)} where it was to be written; its message is kept back because it may quote a row`,
      { cause: error },
    );
  }
}

/**
 * CSV as `COPY … (FORMAT csv, HEADER)` prints it: RFC 4180 quoting, `\n` after each record, NULL as nothing at all
 * and the empty text as `""`. One exception: a text longer than `csvScanBytes` is always quoted, as sources must that
 * cannot see it whole. Source: https://www.postgresql.org/docs/current/sql-copy.html (CSV Format).
 */
import { PipelineError } from "../../errors.ts";
import type { Column, Row, RowBatch } from "../nouns.ts";
import { valueToJson } from "./json-text.ts";
import type { Format } from "./format.ts";
import { createMarks, type RecordBuffer } from "./record-buffer.ts";

const needsQuotes = /[",\r\n]/;

/** UTF-8 bytes beyond which a text is quoted without a look at what is in it. */
export const csvScanBytes = 256 * 1024;

export const csv: Format = {
  extension: "csv",
  namesOf: (row) => Object.keys(row),
  writer() {
    let names: readonly string[] = [];
    let hints: readonly (Column | undefined)[] = [];
    let seen: readonly Column[] | undefined;
    let count = 0;
    return {
      header(batch, out) {
        names = headerNames(batch);
        writeRecord(names, out);
      },
      write(batch, out) {
        if (batch.shape === "tuples") {
          for (const row of batch.rows) writeRecord(row, out);
          return;
        }
        if (batch.columns !== seen) {
          seen = batch.columns;
          const byName = new Map(seen.map((column) => [column.name, column]));
          hints = names.map((name) => byName.get(name));
        }
        for (const row of batch.rows) {
          count += 1;
          refuseOtherKeys(row, names, count);
          writeRecord(
            names.map((name, index) => member(row[name], hints[index])),
            out,
          );
        }
      },
      footer() {},
    };
  },
};

function headerNames(batch: RowBatch): readonly string[] {
  if (batch.shape === "tuples") return batch.columns.map((column) => column.name);
  return batch.rows[0] ? Object.keys(batch.rows[0]) : batch.columns.map((column) => column.name);
}

/** The key is not named: where rows come from JSON, keys can be data. */
export function refuseOtherKeys(row: Row, names: readonly string[], rowNumber: number): void {
  if (Object.keys(row).every((key, index) => key === names[index] || names.includes(key))) return;
  throw new PipelineError(
    "transform-failed",
    `serialize: row ${rowNumber} has a key that the first row, and so the file's header, does not have; make all rows alike with \`map\` or \`select\``,
  );
}

/** A boolean that came as PostgreSQL's `t` or `f` goes out as such. */
function member(value: unknown, hint: Column | undefined): unknown {
  return typeof value === "boolean" && hint?.json === "boolean" ? (value ? "t" : "f") : value;
}

const comma = new TextEncoder().encode(",");
const lineFeed = new TextEncoder().encode("\n");

function writeRecord(cells: readonly unknown[], out: RecordBuffer): void {
  for (let i = 0; i < cells.length; i += 1) {
    if (i > 0) out.bytes(comma);
    writeField(cells[i], cells.length === 1, out);
  }
  out.bytes(lineFeed);
  out.end();
}

const unquoted = createMarks('",\r\n');
const quoted = createMarks("", { '"': '""' });

/** Usual fields straight to their bytes, all others by way of their text. */
function writeField(cell: unknown, alone: boolean, out: RecordBuffer): void {
  if (cell === null || cell === undefined) return;
  const isText = typeof cell === "string" && cell !== "" && !(alone && cell === "\\.");
  if (isText && (out.usual(cell, unquoted, false) || out.usual(cell, quoted, true))) return;
  out.text(printField(cell, alone));
}

/** A cell as a field of CSV; `alone` when it is its record's only one. */
export function printField(cell: unknown, alone: boolean): string {
  if (cell === null || cell === undefined) return "";
  const text = typeof cell === "string" ? cell : plain(valueToJson(cell));
  // A record of one cell `\.` would read as COPY's end-of-data mark.
  if (text === "" || (alone && text === "\\.")) return `"${text}"`;
  return quote(text);
}

/** A value that JSON writes as a text (a date, say) is that text; quotes are CSV's business. */
function plain(json: string): string {
  return json.startsWith('"') ? (JSON.parse(json) as string) : json;
}

function quote(text: string): string {
  if (!text.isWellFormed()) {
    throw new PipelineError(
      "transform-failed",
      "serialize: a text holds half a surrogate pair, which no CSV file can hold; NDJSON can",
    );
  }
  return isLong(text) || needsQuotes.test(text) ? `"${text.replaceAll('"', '""')}"` : text;
}

/** A UTF-16 unit is at most three bytes of UTF-8. */
const isLong = (text: string): boolean =>
  text.length > csvScanBytes / 3 && Buffer.byteLength(text) > csvScanBytes;

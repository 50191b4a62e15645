/**
 * CSV as `COPY … (FORMAT csv, HEADER)` prints it: RFC 4180 quoting, `\n` after each record, NULL as nothing at all
 * and the empty text as `""`. Two exceptions: a text longer than `csvScanBytes` is always quoted, as sources must that
 * cannot see it whole, and so is one that begins with U+FEFF, which at a file's start would be its byte order mark. Other dialects (`csv-dialect.ts`) are what COPY prints with the options of the same names.
 * Source: https://www.postgresql.org/docs/current/sql-copy.html (CSV Format).
 */
import { PipelineError } from "../../errors.ts";
import type { Column, Row, RowBatch, Tuple } from "../nouns.ts";
import { valueToJson } from "./json-text.ts";
import {
  byteOrderMark,
  copyDialect,
  inPattern,
  lineEndOf,
  type CsvDialect,
} from "./csv-dialect.ts";
import type { Format } from "./format.ts";
import { createMarks, type RecordBuffer } from "./record-buffer.ts";
import { partsOf } from "./text-parts.ts";

/** UTF-8 bytes beyond which a text is quoted without a look at what is in it. */
export const csvScanBytes = 256 * 1024;

export const csv = (dialect: CsvDialect = copyDialect): Format => ({
  extension: "csv",
  namesOf: (row) => Object.keys(row),
  writer() {
    const writeRecord = createRecordWriter(dialect);
    let names: readonly string[] = [];
    let hints: readonly (Column | undefined)[] = [];
    let seen: readonly Column[] | undefined;
    let count = 0;
    return {
      header(batch, out) {
        names = headerNames(batch);
        writeHeader(names, dialect, out);
      },
      rows(batch) {
        if (batch.shape === "tuples") return (row, out) => writeRecord(row as Tuple, out);
        if (batch.columns !== seen) {
          seen = batch.columns;
          const byName = new Map(seen.map((column) => [column.name, column]));
          hints = names.map((name) => byName.get(name));
        }
        return (document, out) => {
          const row = document as Row;
          count += 1;
          refuseOtherKeys(row, names, count);
          const cells = names.map((name, index) => member(memberOf(row, name), hints[index]));
          writeRecord(cells, out);
        };
      },
      footer() {},
    };
  },
});

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

/** What a row has of its own; under this one name every object has something. (Functions, as under some others, are NULL.) */
export const memberOf = (row: Row, name: string): unknown =>
  name !== "__proto__" || Object.hasOwn(row, name) ? row[name] : undefined;

/** A boolean that came as PostgreSQL's `t` or `f` goes out as such. */
function member(value: unknown, hint: Column | undefined): unknown {
  return typeof value === "boolean" && hint?.json === "boolean" ? (value ? "t" : "f") : value;
}

/** Nothing where the dialect has neither names nor mark. */
function writeHeader(names: readonly string[], dialect: CsvDialect, out: RecordBuffer): void {
  const text = printHeader(names, dialect);
  if (text === "") return;
  out.text(text);
  out.end();
}

/** The framing before the first record: names stand in quotes where they need to, as COPY has it with FORCE_QUOTE too. */
export function printHeader(names: readonly string[], dialect: CsvDialect): string {
  const mark = dialect.bom ? byteOrderMark : "";
  if (!dialect.header) return mark;
  const print = createFieldPrinter({ ...dialect, quoteAll: false });
  const fields = names.map((name) => [...print(name, names.length === 1)].join(""));
  return `${mark}${fields.join(dialect.delimiter)}${lineEndOf(dialect)}`;
}

const encoder = new TextEncoder();

function createRecordWriter(dialect: CsvDialect) {
  const delimiter = encoder.encode(dialect.delimiter);
  const lineEnd = encoder.encode(lineEndOf(dialect));
  const writeField = createFieldWriter(dialect);
  return (cells: readonly unknown[], out: RecordBuffer): void => {
    for (let i = 0; i < cells.length; i += 1) {
      if (i > 0) out.bytes(delimiter);
      writeField(cells[i], cells.length === 1, out);
    }
    out.bytes(lineEnd);
    out.end();
  };
}

/** Usual fields straight to their bytes, all others by way of their text. */
function createFieldWriter(dialect: CsvDialect) {
  const { delimiter, quote, null: none, quoteAll } = dialect;
  const nullBytes = encoder.encode(none);
  const unquoted = createMarks(`${quote}${delimiter}\r\n`);
  const quoted = createMarks("", { [quote]: `${quote}${quote}` });
  const quoteCode = quote.charCodeAt(0);
  const print = createFieldPrinter(dialect);
  return (cell: unknown, alone: boolean, out: RecordBuffer): void => {
    if (cell === null || cell === undefined) return out.bytes(nullBytes);
    const isText = typeof cell === "string" && cell !== none && !(alone && cell === endOfData);
    if (isText && !quoteAll && !isMarked(cell) && out.usual(cell, unquoted)) return;
    if (isText && out.usual(cell, quoted, quoteCode)) return;
    for (const part of print(cell, alone)) out.text(part);
  };
}

/** A record of one cell `\.` would read as COPY's end-of-data mark. */
const endOfData = "\\.";

/** Where it is the first of its file or page, a reader would take its first character for no text. */
const isMarked = (text: string): boolean => text.startsWith(byteOrderMark);

/** Prints a cell as a field, in parts; `alone` when it is its record's only one. */
export function createFieldPrinter({ delimiter, quote, null: none, quoteAll }: CsvDialect) {
  // A function: in a text that takes the place of another, `$$` is one `$`.
  const double = () => quote + quote;
  const special = new RegExp(`[${inPattern(quote)}${inPattern(delimiter)}\\r\\n]`);
  const isQuoted = (text: string, alone: boolean): boolean =>
    quoteAll ||
    text === none ||
    isMarked(text) ||
    (alone && text === endOfData) ||
    isLong(text) ||
    special.test(text);
  return function* (cell: unknown, alone: boolean): Generator<string> {
    const text = textOf(cell);
    if (text !== null) refuseHalfPairs(text);
    if (text === null || !isQuoted(text, alone)) {
      yield text ?? none;
      return;
    }
    yield quote;
    for (const part of partsOf(text)) yield part.replaceAll(quote, double);
    yield quote;
  };
}

/** A cell as its text; null for NULL, as which everything counts that JSON has no other form for. */
export function textOf(cell: unknown): string | null {
  if (typeof cell === "string") return cell;
  const json = valueToJson(cell);
  // What JSON writes as a text (a date, say) is that text: quotes are CSV's business.
  return json === "null" || json.startsWith('"') ? (JSON.parse(json) as string | null) : json;
}

/** A UTF-16 unit is at most three bytes of UTF-8. */
const isLong = (text: string): boolean =>
  text.length > csvScanBytes / 3 && Buffer.byteLength(text) > csvScanBytes;

function refuseHalfPairs(text: string): void {
  if (text.isWellFormed()) return;
  throw new PipelineError(
    "transform-failed",
    "serialize: a text holds half a surrogate pair, which no CSV file can hold; NDJSON can",
  );
}

/**
 * What records look like: NDJSON and JSON as PostgreSQL's `row_to_json` prints a row, CSV as `COPY … (FORMAT csv, HEADER)`
 * does, byte for byte, with two exceptions: a text that begins with U+FEFF stands in quotes, and so does a value longer than
 * `csvScanBytes`, even where COPY, which sees it whole, would find that it needs none. Every reader of CSV takes both for the same. Other dialects of CSV likewise.
 * Source: https://www.postgresql.org/docs/current/sql-copy.html (CSV Format).
 */
import type { Column } from "../../nouns.ts";
import { csvScanBytes, printHeader } from "../../formats/csv.ts";
import { copyDialect, lineEndOf, type CsvDialect } from "../../formats/csv-dialect.ts";
import type { RecordLayout } from "./record-machine.ts";
import * as kinds from "./value-kinds.ts";

/** A column of a query, and the type the server describes it with. */
export interface TypedColumn extends Column {
  readonly oid: number;
}

/** Types whose binary form we print; every other type comes as the server's text. By OID: src/include/catalog/pg_type.dat. */
const binaryKinds: Readonly<Record<number, number>> = {
  16: kinds.booleanKind,
  17: kinds.byteaKind,
  20: kinds.int8Kind,
  21: kinds.int2Kind,
  23: kinds.int4Kind,
  1082: kinds.dateKind,
  1114: kinds.timestampKind,
  1184: kinds.timestamptzKind,
  1700: kinds.numericKind,
  2950: kinds.uuidKind,
};

const jsonbOid = 3802;

/** A control character becomes `\u00xx`. */
const jsonGrowth = 6;
/** A quote becomes two. */
const csvGrowth = 2;
/** Longer than any infinity of a float, which shows only in the whole. */
const jsonWholeBytes = 256;

const bytesOf = (text: string): Uint8Array => Buffer.from(text);
const nothing = bytesOf("");

function jsonKind({ oid, json }: TypedColumn): number {
  const binary = binaryKinds[oid];
  if (binary !== undefined) return binary;
  if (json === "number") return kinds.jsonFloatKind;
  if (json !== "json") return kinds.jsonStringKind;
  // The server prints jsonb without any line break.
  return oid === jsonbOid ? kinds.jsonAsIsKind : kinds.jsonLineKind;
}

function jsonRecords(columns: readonly TypedColumn[], after: string) {
  return {
    columns: columns.map((column, index) => ({
      kind: jsonKind(column),
      before: bytesOf(`${index === 0 ? "{" : ","}${JSON.stringify(column.name)}:`),
      none: bytesOf("null"),
    })),
    after: bytesOf(`${columns.length === 0 ? "{}" : "}"}${after}`),
    growth: jsonGrowth,
    wholeBytes: jsonWholeBytes,
    partsDiffer: false,
  };
}

/** One object a line. */
const ndjson = (columns: readonly TypedColumn[]): RecordLayout => ({
  ...jsonRecords(columns, "\n"),
  extension: "ndjson",
  header: nothing,
  between: nothing,
  footer: nothing,
});

/** One array, an object a line. */
const json = (columns: readonly TypedColumn[]): RecordLayout => ({
  ...jsonRecords(columns, ""),
  extension: "json",
  header: bytesOf("[\n"),
  between: bytesOf(",\n"),
  footer: bytesOf("\n]\n"),
});

/** What stands in values that we print ourselves, besides letters and digits. */
const marksInValues = /[-+.: \\]/;
/** All of them have a digit, but for these; a UUID may have none and is longer than a text for NULL can be. */
const maybeValue = /\d|^\\x|^(?:t|f|nan|-?infinity)$/i;

/** Whether values that we print never need quotes; otherwise the server sends its texts, which are looked through. */
const isPlain = ({ delimiter, quote, null: none }: CsvDialect): boolean =>
  !marksInValues.test(delimiter) && !marksInValues.test(quote) && !maybeValue.test(none);

function csv(columns: readonly TypedColumn[], dialect: CsvDialect = copyDialect): RecordLayout {
  const text = columns.length === 1 ? kinds.csvLoneTextKind : kinds.csvTextKind;
  const printed = isPlain(dialect) ? binaryKinds : {};
  const none = bytesOf(dialect.null);
  const names = columns.map(({ name }) => name);
  return {
    extension: "csv",
    dialect,
    columns: columns.map(({ oid }, index) => ({
      kind: printed[oid] ?? text,
      before: index === 0 ? nothing : bytesOf(dialect.delimiter),
      none,
    })),
    header: bytesOf(printHeader(names, dialect)),
    between: nothing,
    after: bytesOf(lineEndOf(dialect)),
    footer: nothing,
    growth: csvGrowth,
    wholeBytes: csvScanBytes,
    partsDiffer: true,
  };
}

/** How each format of `serialize` lays out records of these columns. */
export const recordLayouts: Readonly<
  Record<string, (columns: readonly TypedColumn[], dialect?: CsvDialect) => RecordLayout>
> = { ndjson, json, csv };

/** One record's text to a row, losing nothing. */
import { PipelineError } from "../errors.ts";
import { copyDialect, inPattern, type CsvDialect } from "../stages/formats/csv-dialect.ts";
import type { Row } from "../stages/nouns.ts";
import { isSameNumber, parseExact } from "../stages/sources/json-values.ts";

/**
 * Parses the JSON text of one row. A number that a double cannot hold exactly becomes a `JSON.rawJSON` of its digits,
 * which `JSON.stringify` prints unchanged; every other number is a number.
 * @throws PipelineError `integrity-failed` when it is no JSON object.
 */
export function parseJsonRecord(text: string): Row {
  let row: unknown;
  try {
    row = parseExact(text, isSameNumber);
  } catch {
    throw notARow("is not JSON");
  }
  if (!isRow(row)) throw notARow("is no object");
  return row;
}

const isRow = (value: unknown): value is Row =>
  typeof value === "object" && value !== null && !Array.isArray(value);

export type CsvRecordParser = (text: string) => (string | null)[];

/**
 * Splits the text of one CSV record, its line end included, into cells: what stands for NULL is null, the same in quotes
 * is a text. Source: https://www.postgresql.org/docs/current/sql-copy.html (CSV Format).
 * @throws PipelineError `integrity-failed`, from the parser, for text that COPY would not print.
 */
export function createCsvRecordParser(dialect: CsvDialect): CsvRecordParser {
  const quote = inPattern(dialect.quote);
  const delimiter = inPattern(dialect.delimiter);
  const [lineEnd, breaks] = dialect.lineEnd === "crlf" ? ["\\r\\n", "\\r\\n"] : ["\\n", "\\n"];
  const cell = new RegExp(
    `(?:${quote}([^${quote}]*(?:${quote}${quote}[^${quote}]*)*)${quote}|([^${quote}${delimiter}${breaks}]*))(${delimiter}|${lineEnd})`,
    "y",
  );
  const doubled = dialect.quote.repeat(2);
  return (text) => {
    const cells: (string | null)[] = [];
    cell.lastIndex = 0;
    while (cell.lastIndex < text.length || cells.length === 0) {
      const match = cell.exec(text);
      if (!match) throw notARow("is not CSV");
      const [, quoted, plain = "", end] = match;
      const bare = plain === dialect.null ? null : plain;
      cells.push(quoted === undefined ? bare : quoted.replaceAll(doubled, dialect.quote));
      if (end === dialect.delimiter) continue;
      if (cell.lastIndex === text.length) return cells;
      throw notARow("is not one CSV record");
    }
    throw notARow("does not end with a newline");
  };
}

/** Of the CSV that COPY writes without a word. */
export const parseCsvRecord: CsvRecordParser = createCsvRecordParser(copyDialect);

function notARow(what: string): PipelineError {
  return new PipelineError(
    "integrity-failed",
    `a record ${what}; the pages are authentic, so the exporter wrote it so`,
  );
}

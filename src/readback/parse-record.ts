/** One record's text to a row, losing nothing. */
import { PipelineError } from "../errors.ts";
import { inPattern, lineEndOf, type CsvDialect } from "../stages/formats/csv-dialect.ts";
import type { Row } from "../stages/nouns.ts";
import { isSameNumber, isTooDeep, parseExact } from "../stages/sources/json-values.ts";

/**
 * Parses the JSON text of one row. A number that a double cannot hold exactly becomes a `JSON.rawJSON` of its digits,
 * which `JSON.stringify` prints unchanged; every other number is a number.
 * @throws PipelineError `integrity-failed` when it is no JSON object.
 */
export function parseJsonRecord(text: string): Row {
  let row: unknown;
  try {
    row = parseExact(text, isSameNumber);
  } catch (error) {
    throw notARow(isTooDeep(error) ? "is nested too deep to be a row here" : "is not JSON");
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
  const { delimiter, quote, null: none } = dialect;
  const lineEnd = lineEndOf(dialect);
  const doubled = quote.repeat(2);
  const breaks = dialect.lineEnd === "crlf" ? "\\r\\n" : "\\n";
  const bare = new RegExp(`[^${inPattern(quote)}${inPattern(delimiter)}${breaks}]*`, "y");
  const endOf = (text: string, at: number): number => {
    if (text[at] === quote) return endOfQuoted(text, at, quote);
    bare.lastIndex = at;
    bare.test(text);
    return bare.lastIndex;
  };
  return (text) => {
    const cells: (string | null)[] = [];
    for (let at = 0; ;) {
      const end = endOf(text, at);
      const cell = text.slice(at, end);
      if (text[at] === quote) cells.push(cell.slice(1, -1).replaceAll(doubled, quote));
      else cells.push(cell === none ? null : cell);
      at = end + 1;
      if (text[end] === delimiter) continue;
      if (end === text.length) throw notARow("does not end with a newline");
      if (!text.startsWith(lineEnd, end)) throw notARow("is not CSV");
      if (end + lineEnd.length === text.length) return cells;
      throw notARow("is not one CSV record");
    }
  };
}

/** Behind the quote that closes. No pattern: it would remember each doubled one, and there may be millions. */
function endOfQuoted(text: string, start: number, quote: string): number {
  for (let at = start + 1; ; at += 2) {
    at = text.indexOf(quote, at);
    if (at < 0) throw notARow("is not CSV");
    if (text[at + 1] !== quote) return at + 1;
  }
}

function notARow(what: string): PipelineError {
  return new PipelineError(
    "integrity-failed",
    `a record ${what}; the pages are authentic, so the exporter wrote it so`,
  );
}

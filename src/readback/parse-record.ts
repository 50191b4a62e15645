/** One record's text to a row, losing nothing. */
import { PipelineError } from "../errors.ts";
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

/**
 * Splits the text of one CSV record, its newline included, into cells: NULL (nothing at all) is null, the quoted
 * empty text is "". Source: https://www.postgresql.org/docs/current/sql-copy.html (CSV Format).
 * @throws PipelineError `integrity-failed` for text that COPY would not print.
 */
export function parseCsvRecord(text: string): (string | null)[] {
  const cells: (string | null)[] = [];
  const cell = /(?:"([^"]*(?:""[^"]*)*)"|([^",\n]*))([,\n])/y;
  while (cell.lastIndex < text.length || cells.length === 0) {
    const match = cell.exec(text);
    if (!match) throw notARow("is not CSV");
    const [, quoted, plain, end] = match;
    cells.push(quoted === undefined ? plain || null : quoted.replaceAll('""', '"'));
    if (end === "\n" && cell.lastIndex !== text.length) throw notARow("is not one CSV record");
    if (end === "\n") return cells;
  }
  throw notARow("does not end with a newline");
}

function notARow(what: string): PipelineError {
  return new PipelineError(
    "integrity-failed",
    `a record ${what}; the pages are authentic, so the exporter wrote it so`,
  );
}

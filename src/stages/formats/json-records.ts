/** Rows to JSON objects, one text a row: shared by `ndjson` and `json`. */
import type { Column, Row, RowBatch, Tuple } from "../nouns.ts";
import { cellToJson, memberToJson, valueToJson } from "./json-text.ts";

/** Gives each row of a batch as JSON text; remembers how to write the columns it saw last. */
export function createJsonRecords(): (batch: RowBatch, each: (record: string) => void) => void {
  let seen: readonly Column[] | undefined;
  let writeTuple: (row: Tuple) => string;
  let writeDocument: (row: Row) => string;
  return (batch, each) => {
    if (batch.columns !== seen) {
      seen = batch.columns;
      writeTuple = tupleWriter(batch.columns);
      writeDocument = documentWriter(batch.columns);
    }
    if (batch.shape === "tuples") for (const row of batch.rows) each(writeTuple(row));
    else for (const row of batch.rows) each(writeDocument(row));
  };
}

/** The keys of a row that JSON has: those without a value are left out, as `JSON.stringify` does. */
export const writtenNames = (row: Row): readonly string[] =>
  Object.keys(row).filter((key) => isWritten(row[key]));

const isWritten = (value: unknown): boolean =>
  value !== undefined && typeof value !== "function" && typeof value !== "symbol";

function tupleWriter(columns: readonly Column[]): (row: Tuple) => string {
  const keys = columns.map(
    (column, index) => `${index === 0 ? "{" : ","}${JSON.stringify(column.name)}:`,
  );
  const cells = columns.map(cellToJson);
  if (columns.length === 0) return () => "{}";
  return (row) => {
    let record = "";
    for (let i = 0; i < keys.length; i += 1) record += keys[i]! + cells[i]!(row[i]);
    return record + "}";
  };
}

function documentWriter(columns: readonly Column[]): (row: Row) => string {
  if (columns.length === 0) return valueToJson;
  const members = new Map(columns.map((column) => [column.name, memberToJson(column)]));
  return (row) => {
    let record = "";
    for (const key of Object.keys(row)) {
      const value = row[key];
      if (!isWritten(value)) continue;
      const write = members.get(key) ?? valueToJson;
      record += `${record === "" ? "{" : ","}${JSON.stringify(key)}:${write(value)}`;
    }
    return record === "" ? "{}" : record + "}";
  };
}

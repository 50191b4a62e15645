/** Tuples as the objects that JavaScript functions see. */
import { PipelineError } from "../../errors.ts";
import type { Column, Row, RowBatch } from "../nouns.ts";

const nativeTypes: Record<string, (text: string) => unknown> = {
  int2: Number,
  int4: Number,
  bool: (text) => text === "t",
};

/**
 * Rows as JavaScript sees them: booleans and 2- and 4-byte integers as such, everything else as the source's exact text.
 * @throws PipelineError `transform-failed` when two columns share a name: an object can hold only one.
 */
export function toDocuments(batch: RowBatch): readonly Row[] {
  if (batch.shape === "documents") return batch.rows;
  const { columns } = batch;
  refuseDoubles(columns);
  const convert = columns.map((column) =>
    column.json === "value" ? undefined : nativeTypes[column.type],
  );
  return batch.rows.map((tuple) => {
    const row: Row = {};
    for (let i = 0; i < columns.length; i += 1) {
      const cell = tuple[i];
      const native = convert[i];
      setMember(row, columns[i]!.name, native && typeof cell === "string" ? native(cell) : cell);
    }
    return row;
  });
}

/** Plain objects, since V8 keeps those without a prototype as slow dictionaries; only one name needs care. */
export function setMember(row: Row, name: string, value: unknown): void {
  if (name !== "__proto__") row[name] = value;
  else
    Object.defineProperty(row, name, {
      value,
      enumerable: true,
      configurable: true,
      writable: true,
    });
}

/** Columns as an object has members: each name once, those that read as array indexes first, by number. */
export const inMemberOrder = <Named extends { readonly name: string }>(
  columns: readonly Named[],
): readonly Named[] => Object.values(Object.fromEntries(columns.map((one) => [one.name, one])));

const checked = new WeakSet<readonly object[]>();

/** @throws PipelineError `transform-failed` when two columns share a name: an object can hold only one. */
export function refuseDoubles(columns: readonly Pick<Column, "name">[]): void {
  if (checked.has(columns)) return;
  const names = new Set<string>();
  for (const { name } of columns) {
    if (names.has(name)) {
      throw new PipelineError(
        "transform-failed",
        `two columns are named ${JSON.stringify(name)}; give them different names in the query, or drop the row functions`,
      );
    }
    names.add(name);
  }
  checked.add(columns);
}

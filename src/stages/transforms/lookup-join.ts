/** What a lookup does with the rows of a batch: reads their keys, and joins to them what was found. */
import { PipelineError } from "../../errors.ts";
import type { Column, Row, RowBatch, Tuple } from "../nouns.ts";
import { cellReader, refuseDoubles, setMember, textOf } from "./documents.ts";
import type { Key } from "./lookup-answers.ts";
import type { Answer } from "./lookup-cache.ts";
import { keyText } from "./lookup-table.ts";

/** The key of each row of a batch. */
export function readKeys(batch: RowBatch, names: readonly string[]): readonly Key[] {
  if (batch.rows.length === 0) return [];
  const readers = names.map((name) => keyReader(batch, name));
  const [read] = readers;
  if (readers.length === 1) return batch.rows.map(read!);
  return batch.rows.map((row) => {
    const parts = readers.map((one) => one(row));
    return parts.includes(null) ? null : keyText(parts as string[]);
  });
}

function keyReader({ shape, columns }: RowBatch, name: string): (row: Tuple | Row) => Key {
  if (shape === "documents") {
    return (row) => {
      if (!Object.hasOwn(row, name)) throw nothingToLookUp(name);
      return textOf((row as Row)[name]);
    };
  }
  const at = columns.findIndex((column) => column.name === name);
  if (at === -1) throw nothingToLookUp(name);
  const read = cellReader(columns[at]!);
  return (row) => textOf(read((row as Tuple)[at]));
}

export interface Joining {
  readonly added: readonly Column[];
  readonly missing: "keep" | "drop" | "fail";
}

/** Rows of a batch with what was found for them, in the shape they came in: objects only where they were objects. */
export function join(
  shape: RowBatch["shape"],
  rows: readonly (Tuple | Row)[],
  answers: readonly Answer[],
  joining: Joining,
): readonly (Tuple | Row)[] {
  const { added, missing } = joining;
  const absent = added.map(() => null);
  const append = shape === "tuples" ? appendCells : memberAppender(added);
  if (missing === "drop") {
    return rows.flatMap((row, at) =>
      answers[at] ? [append(row as Row & Tuple, answers[at])] : [],
    );
  }
  if (missing === "fail" && answers.includes(null)) throw noCounterpart();
  return rows.map((row, at) => append(row as Row & Tuple, answers[at] ?? absent));
}

const appendCells = (row: Tuple, found: Tuple): Tuple => row.concat(found);

/** Objects are the stage before's, so that each is copied. */
function memberAppender(added: readonly Column[]): (row: Row, found: Tuple) => Row {
  const members = added.map((column) => ({ name: column.name, read: cellReader(column) }));
  return (row, found) => {
    const joined = { ...row };
    for (const [at, { name, read }] of members.entries()) {
      if (Object.hasOwn(row, name)) throw taken(name);
      setMember(joined, name, read(found[at]));
    }
    return joined;
  };
}

/** The columns of joined rows: the same list for the same list, as writers remember it. */
export function joinColumns(added: readonly Column[]): (batch: RowBatch) => readonly Column[] {
  const joined = new WeakMap<readonly Column[], readonly Column[]>();
  return ({ shape, columns: before }) => {
    let columns = joined.get(before);
    if (!columns) {
      columns = [...before, ...added];
      if (shape === "tuples") refuseTaken(before, added);
      joined.set(before, columns);
    }
    return columns;
  };
}

function refuseTaken(before: readonly Column[], added: readonly Column[]): void {
  refuseDoubles(before);
  const names = new Set(before.map(({ name }) => name));
  const both = added.find(({ name }) => names.has(name));
  if (both) throw taken(both.name);
}

const nothingToLookUp = (name: string) =>
  new PipelineError("transform-failed", `lookup: there is no column ${JSON.stringify(name)}`);

const noCounterpart = () =>
  new PipelineError(
    "transform-failed",
    "lookup: a row has no counterpart in its query, and `missing` is `fail`; its key is kept back because it is data",
  );

const taken = (name: string) =>
  new PipelineError(
    "transform-failed",
    `lookup: rows have a column ${JSON.stringify(name)} already; name it otherwise in the lookup's query`,
  );

/** Tuples as the objects that JavaScript functions see. */
import { PipelineError } from "../../errors.ts";
import { valueToJson } from "../formats/json-text.ts";
import type { Column, Row, RowBatch, Tuple } from "../nouns.ts";

type ToDocument = (tuple: Tuple) => Row;
type Convert = (cell: unknown) => unknown;

const fromText =
  (read: (text: string) => unknown): Convert =>
  (cell) =>
    typeof cell === "string" ? read(cell) : cell;

const nativeTypes: Record<string, Convert> = {
  int2: fromText(Number),
  int4: fromText(Number),
  bool: fromText((text) => text === "t"),
};

const asItIs: Convert = (cell) => cell;

/** How JavaScript sees the cells of a column. */
export const cellReader = ({ json, type }: Column): Convert =>
  json === "value" ? asItIs : (nativeTypes[type] ?? asItIs);

/**
 * What makes a row of a batch a row as JavaScript sees it: booleans and 2- and 4-byte integers as such, everything else
 * as the source's exact text.
 * @throws PipelineError `transform-failed` when two columns share a name: an object can hold only one.
 */
export function documentMaker({ shape, columns }: RowBatch): (row: Tuple | Row) => Row {
  if (shape === "documents") return (row) => row as Row;
  let make = makers.get(columns);
  if (!make) {
    refuseDoubles(columns);
    make = createMaker(columns);
    makers.set(columns, make);
  }
  return make as (row: Tuple | Row) => Row;
}

const makers = new WeakMap<readonly Column[], ToDocument>();

/**
 * An object literal of the columns, compiled: V8 then lays every row out at once, which for forty columns takes a
 * thirtieth of the time of adding member after member (bench/rows). The source has nothing in it but names as JSON texts.
 */
function createMaker(columns: readonly Column[]): ToDocument {
  const converts = columns.map(cellReader);
  const members = columns.map(({ name }, index) => {
    const cell =
      converts[index] === asItIs ? `tuple[${index}]` : `converts[${index}](tuple[${index}])`;
    // Only a computed `__proto__` is a name like any other; V8 compiles computed names poorly.
    return name === "__proto__" ? `["__proto__"]: ${cell}` : `${JSON.stringify(name)}: ${cell}`;
  });
  try {
    // oxlint-disable-next-line typescript/no-implied-eval -- names are quoted, nothing else comes from outside
    const compile = new Function("converts", `return (tuple) => ({ ${members.join(", ")} });`);
    return (compile as (converts: readonly Convert[]) => ToDocument)(converts);
  } catch (error) {
    // Node runs with `--disallow-code-generation-from-strings`.
    if (!(error instanceof EvalError)) throw error;
    return (tuple) => {
      const row: Row = {};
      for (const [index, { name }] of columns.entries())
        setMember(row, name, converts[index]!(tuple[index]));
      return row;
    };
  }
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

/** A member as the text it is compared by. Numbers that JavaScript would change are held as raw JSON, as they were read. */
export function textOf(value: unknown): string | null {
  if (value === null || value === undefined) return null;
  return typeof value === "string" ? value : valueToJson(value);
}

/** Columns as an object has members: each name once, those that read as array indexes first, by number. */
export const inMemberOrder = <Named extends { readonly name: string }>(
  columns: readonly Named[],
): readonly Named[] => Object.values(Object.fromEntries(columns.map((one) => [one.name, one])));

/** @throws PipelineError `transform-failed` when two columns share a name: an object can hold only one. */
export function refuseDoubles(columns: readonly Pick<Column, "name">[]): void {
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
}

/**
 * One page of NDJSON as rows of a table: each record's members are bound, by the columns' types, to one prepared insert.
 * SQLite could read the page itself (`json_each`), in twice the time, and not without rounding numbers.
 */
import { isUtf8 } from "node:buffer";
import type { DatabaseSync, SQLInputValue } from "node:sqlite";
import { parse, readMembers, type Members } from "./record-members.ts";
import { prepare } from "./sqlite-statements.ts";
import type { SqliteColumn, SqliteTable } from "./sqlite-table.ts";
import { readValue } from "./sqlite-values.ts";
import { differentColumns, fitColumns, quoteName, refusedPage } from "./table.ts";

const newline = 0x0a;

/**
 * Writes the records within the transaction that is open; of those with the same key the last one stays.
 * @throws PipelineError `destination-refused` when they do not fit the table, or it kept fewer than it was given
 */
export function writeRows(database: DatabaseSync, table: SqliteTable, records: Uint8Array): void {
  if (!isUtf8(records)) throw refusedPage("the records are not UTF-8");
  const members: Members = { names: [], values: [], count: 0 };
  let write: ((members: Members) => boolean) | undefined;
  let given = 0;
  let kept = 0;
  for (const line of linesOf(records)) {
    readMembers(line, members);
    write ??= createWriter(database, table, members);
    given += 1;
    if (write(members)) kept += 1;
  }
  if (kept === given) return;
  throw refusedPage(`the table kept ${kept} of ${given} rows; a trigger may turn some away`);
}

/** Line by line: as one text a page could take twice its bytes. */
function* linesOf(records: Uint8Array): Generator<string> {
  const bytes = Buffer.from(records.buffer, records.byteOffset, records.length);
  for (let start = 0; start < bytes.length;) {
    const end = bytes.indexOf(newline, start);
    if (end > start) yield bytes.toString("utf8", start, end);
    start = end + 1;
  }
}

/** A function that writes a record with the names of the first; it gives whether the table kept the row. */
function createWriter(database: DatabaseSync, table: SqliteTable, first: Members) {
  const columns = columnsOf(first, table);
  const names = first.names.slice(0, first.count);
  const places = placesOf(columns, names);
  const keys = columns.map(({ name }) => table.key.includes(name));
  const insert = prepare(database, insertStatement(table, columns));
  // It tells the row's number, which may be beyond those that JavaScript counts with.
  insert.setReadBigInts(true);
  const isThere = lookForRow(database, table, columns);
  const values: SQLInputValue[] = [];
  return (members: Members): boolean => {
    const at = hasNames(members, names) ? places : placesAnew(members, names, columns);
    for (let i = 0; i < columns.length; i += 1) {
      const { form, name, isRowid } = columns[i]!;
      const value = readValue(members.values[at[i]!]!, form, name);
      if (value === null && keys[i]) throw keyless(table);
      if (value === null && isRowid) throw numbered(name);
      values[i] = value;
    }
    return insert.run(...values).changes > 0n || isThere(values);
  };
}

/** The columns to write. All records must name the same, each once and all of them the table's, and have their key. */
function columnsOf(members: Members, table: SqliteTable): readonly SqliteColumn[] {
  const named = namesOf(members);
  if (named.length === 0) throw differentColumns();
  const columns = fitColumns(named, table);
  if (!table.key.every((key) => named.includes(key))) throw keyless(table);
  return columns;
}

const namesOf = ({ names, count }: Members): string[] =>
  names.slice(0, count).map((name) => parse(name) as string);

const placesOf = (columns: readonly SqliteColumn[], names: readonly string[]): number[] => {
  const named = names.map((name) => parse(name) as string);
  return columns.map(({ name }) => named.indexOf(name));
};

function hasNames(members: Members, names: readonly string[]): boolean {
  if (members.count !== names.length) return false;
  for (let i = 0; i < names.length; i += 1) if (members.names[i] !== names[i]) return false;
  return true;
}

/** Records may name their columns in another order, or write a name differently. */
function placesAnew(
  members: Members,
  names: readonly string[],
  columns: readonly SqliteColumn[],
): number[] {
  const named = namesOf(members);
  const wanted = names.map((name) => parse(name) as string);
  if (new Set(named).size < named.length) throw refusedPage("records name a column twice");
  if (named.length !== wanted.length || !wanted.every((name) => named.includes(name)))
    throw differentColumns();
  return placesOf(columns, members.names.slice(0, members.count));
}

const keyless = ({ key }: SqliteTable) =>
  refusedPage(`a record has no value for its key (${key.join(", ")})`);

const numbered = (column: string) =>
  refusedPage(
    `a record says null for ${column}, where SQLite would number the row instead; expected a number, or records without the column`,
  );

/** `or abort`: a constraint that the table itself would rather ignore, or replace rows for, must not lose any. */
function insertStatement({ name, key }: SqliteTable, columns: readonly SqliteColumn[]): string {
  const names = columns.map((column) => quoteName(column.name));
  const changed = names.filter((_, at) => !key.includes(columns[at]!.name));
  const sets = changed.map((one) => `${one} = excluded.${one}`).join(", ");
  const resolve = sets === "" ? "nothing" : `update set ${sets}`;
  const conflict =
    key.length > 0 ? ` on conflict (${key.map(quoteName).join(", ")}) do ${resolve}` : "";
  return (
    `insert or abort into main.${quoteName(name)} (${names.join(", ")}) ` +
    `values (${names.map(() => "?").join(", ")})${conflict}`
  );
}

/** Where nothing would change, a row that was there is left alone and counts as kept. */
function lookForRow(
  database: DatabaseSync,
  { name, key }: SqliteTable,
  columns: readonly SqliteColumn[],
) {
  if (columns.some((column) => !key.includes(column.name))) return () => false;
  const equal = columns.map((column) => `${quoteName(column.name)} = ?`).join(" and ");
  const find = prepare(database, `select 1 from main.${quoteName(name)} where ${equal}`);
  return (values: readonly SQLInputValue[]) => find.get(...values) !== undefined;
}

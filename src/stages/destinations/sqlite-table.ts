/** A table of SQLite that takes rows, as its file describes it, and whether what is promised of rows can be kept there. */
import type { DatabaseSync } from "node:sqlite";
import { prepare } from "./sqlite-statements.ts";
import { formOf, type ValueForm } from "./sqlite-values.ts";
import type { TableOptions } from "./destination.ts";
import { unfitTable, type AnyColumn, type AnyTable } from "./table.ts";

export interface SqliteColumn extends AnyColumn {
  readonly form: ValueForm;
  /** SQLite would put a number of its own in the place of NULL. */
  readonly isRowid: boolean;
}

export type SqliteTable = AnyTable<SqliteColumn>;

/** How `pragma_table_xinfo` marks columns that are computed. */
const generated = new Set([2, 3]);

/**
 * Looks the table up.
 * @throws PipelineError `destination-refused` when it is not there, is no ordinary table, or no unique index covers the key
 */
export function describeTable(database: DatabaseSync, wanted: TableOptions): SqliteTable {
  const { table, key } = wanted;
  const shown = JSON.stringify(table);
  const listed = prepare(
    database,
    "select name, type, strict, wr from pragma_table_list where schema = 'main' and name = ? collate nocase",
  ).get(table);
  if (!listed) throw unfitTable(`there is no table ${shown}; expected one that is there before`);
  if (listed["type"] !== "table") {
    throw unfitTable(`${shown} is a view or a virtual table; expected an ordinary one`);
  }
  const name = String(listed["name"]);
  const found = prepare(
    database,
    "select name, type, hidden, pk from pragma_table_xinfo(?, 'main')",
  ).all(name);
  const primary = found.filter(({ pk }) => pk !== 0).map((column) => String(column["name"]));
  if (key.length > 0 && !isSameSet(key, primary) && !hasUniqueIndex(database, name, key)) {
    throw unfitTable(
      `${shown} has no unique index on exactly ${key.map((one) => JSON.stringify(one)).join(", ")} (\`key\`)`,
    );
  }
  const isNumbered = primary.length === 1 && listed["wr"] === 0;
  const columns = found.map((column) => {
    const form = formOf(String(column["type"]), listed["strict"] === 1);
    return {
      name: String(column["name"]),
      isRowid: isNumbered && column["pk"] === 1 && /^integer$/i.test(String(column["type"])),
      isGenerated: generated.has(Number(column["hidden"])),
      isText: form === "text",
      form,
    };
  });
  return { name, columns, key };
}

/** Whether a whole index, of columns alone, tells all rows apart by the key. */
export function hasUniqueIndex(
  database: DatabaseSync,
  table: string,
  key: readonly string[],
): boolean {
  const indexes = prepare(
    database,
    `select name from pragma_index_list(?, 'main') where "unique" and not partial`,
  ).all(table);
  const columnsOf = prepare(database, "select name from pragma_index_info(?, 'main')");
  return indexes.some(({ name }) =>
    isSameSet(
      key,
      columnsOf.all(name as string).map((column) => column["name"]),
    ),
  );
}

const isSameSet = (left: readonly string[], right: readonly unknown[]): boolean =>
  left.length === right.length &&
  new Set(left).size === left.length &&
  left.every((one) => right.includes(one));

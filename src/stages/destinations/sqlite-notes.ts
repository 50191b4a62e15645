/**
 * What was stored, noted in the same file, in the transaction that stores it: pages as names and digests, since they
 * became rows of a table; everything else with its bytes.
 */
import type { DatabaseSync } from "node:sqlite";
import type { ListedObject } from "./destination.ts";
import { prepare } from "./sqlite-statements.ts";
import { hasUniqueIndex, type SqliteTable } from "./sqlite-table.ts";
import {
  becameRows,
  foldersOf,
  foreignObject,
  notNoted,
  notesName,
  repeatableNotes,
  requireNotes,
  type ListedPart,
} from "./table-notes.ts";
import type { WholeObject } from "./table.ts";

/** Pages are noted for their table; what is no page is noted for none. */
const noTable = "";

/** Names looked up at once: a listing is never held whole. */
const namesAtOnce = 1000;

/** Behind every name that begins with the same text. */
const lastSign = "\u{10ffff}";

const columnsOf = (database: DatabaseSync): string[] =>
  prepare(database, `select name from pragma_table_info('${notesName}', 'main')`)
    .all()
    .map(({ name }) => String(name));

/** Whether anything was ever noted here; readers make nothing. */
const hasNotes = (database: DatabaseSync): boolean => columnsOf(database).length > 0;

/**
 * Makes the table of notes where it is missing, within the open transaction.
 * @throws PipelineError `destination-refused` when another table has its name
 */
export function openNotes(database: DatabaseSync): void {
  database.exec(
    `create table if not exists main.${notesName} (name text not null, target text not null, bytes integer not null, sha256 blob not null, ` +
      "content blob, stored_at text not null default current_timestamp, primary key (name, target))",
  );
  requireNotes(notesName, columnsOf(database));
  if (!hasUniqueIndex(database, notesName, ["name", "target"])) throw repeatableNotes(notesName);
}

/**
 * Notes an object within the open transaction.
 * @returns whether it is new; one that was noted before is the same
 * @throws PipelineError `foreign-object` where other bytes were noted under its name
 */
export function noteObject(
  database: DatabaseSync,
  { name, bytes, sha256 }: WholeObject,
  table: SqliteTable | undefined,
): boolean {
  const target = table?.name ?? noTable;
  const { changes } = prepare(
    database,
    `insert into main.${notesName} (name, target, bytes, sha256, content) values (?, ?, ?, ?, ?) on conflict do nothing`,
  ).run(name, target, bytes.length, sha256, table ? null : bytes);
  if (changes > 0) return true;
  const found = prepare(
    database,
    `select sha256 from main.${notesName} where name = ? and target = ?`,
  ).get(name, target);
  if (found && Buffer.compare(found["sha256"] as Uint8Array, sha256) === 0) return false;
  throw foreignObject(name);
}

/** What is trimmed off a name's end is everything but slashes: what stays is its folder. */
const folderOf = (name: string): string => `rtrim(${name}, replace(${name}, '/', ''))`;

/**
 * Another run of the pipeline whose rows lie in the table and whose manifest does not. From one run to the next the index is
 * asked for the first name behind all of its pages (`0` follows the slash): it would take longer night by night.
 */
export function findUnfinished(
  database: DatabaseSync,
  table: SqliteTable,
  pageName: string,
): string | undefined {
  const { pipeline, run } = foldersOf(pageName);
  const first = (behind: string) =>
    `select min(name) from main.${notesName} where target = ?1 and name > ${behind} and name < ?3`;
  const found = prepare(
    database,
    `with recursive runs(page) as (${first("?2")} union all ` +
      `select (${first(`rtrim(${folderOf("page")}, '/') || '0'`)}) from runs where page is not null) ` +
      "select page from runs where page is not null and not (page > ?4 and page < ?5) " +
      `and not exists (select 1 from main.${notesName} where name = ${folderOf("page")} || 'manifest.json') limit 1`,
  ).get(table.name, pipeline, pipeline + lastSign, run, run + lastSign);
  return found && String(found["page"]).split("/").at(-2);
}

/** @throws PipelineError `not-found`; `destination-refused` for a page, which became rows */
export function readNoted(database: DatabaseSync, name: string): Uint8Array {
  const found = hasNotes(database)
    ? prepare(
        database,
        `select target, content from main.${notesName} where name = ? order by target limit 1`,
      ).get(name)
    : undefined;
  if (!found) throw notNoted(name);
  if (found["target"] !== noTable) throw becameRows(name);
  // No bytes at all come back as NULL.
  return (found["content"] as Uint8Array | null) ?? new Uint8Array(0);
}

/** Some names in the order of their bytes, as everywhere, behind `after`; of pages, those in this table. */
export function listNoted(
  database: DatabaseSync,
  table: string,
  { prefix, after }: ListedPart,
): readonly ListedObject[] {
  if (!hasNotes(database)) return [];
  return prepare(
    database,
    `select name, bytes from main.${notesName} where name > ? and name < ? and (target = ? collate nocase or target = '${noTable}') order by name limit ${namesAtOnce}`,
  )
    .all(after === "" ? prefix : after, prefix + lastSign, table)
    .map(({ name, bytes }) => ({ name: String(name), bytes: Number(bytes) }));
}

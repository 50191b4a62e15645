/**
 * Destination `sqlite:` · the records of pages as rows of a table in a file.
 *
 * takes / gives  pages of NDJSON, neither compressed nor encrypted / nothing back but the manifest and its like
 * holds          one page, a record of it as text, and SQLite's page cache
 * order          puts one after another, in page order: of rows with the same key the last one stays
 * ends           a put returns when its transaction is committed and on the disk
 * fails          `destination-refused` (rows that do not fit), `destination-failed` (locked, full), `foreign-object`
 *
 * What was stored is noted in `spillway_objects`, in the same file and in the transaction that writes the rows: a page
 * that is put again after a crash is found there, and its rows are not written twice. SQLite runs inside this thread: while
 * it writes a page nothing else happens here; a lock is waited for without standing still.
 */
import type { DatabaseSync } from "node:sqlite";
import { fileURLToPath } from "node:url";
import type { Destination, OpenDestination, TableOptions } from "./destination.ts";
import { segmentsOf } from "./object-names.ts";
import { pathIdentity } from "./path-identity.ts";
import { createConnection } from "./sqlite-connection.ts";
import { findUnfinished, listNoted, noteObject, openNotes, readNoted } from "./sqlite-notes.ts";
import { writeRows } from "./sqlite-rows.ts";
import { prepare } from "./sqlite-statements.ts";
import { describeTable, type SqliteTable } from "./sqlite-table.ts";
import { emptiedTable, foldersOf, listInParts, unfinishedRun } from "./table-notes.ts";
import {
  quoteName,
  recordsOf,
  tableOf,
  textColumnsOf,
  wholeObject,
  type WholeObject,
} from "./table.ts";

/** The file that a URL of this scheme names. */
export const pathOf = (url: URL): string => fileURLToPath(`file://${url.pathname}`);

export const openSqlite: OpenDestination = async (url, { timeoutMillis, rows }) => {
  const wanted = tableOf(rows, "sqlite");
  const connection = createConnection(pathOf(url), timeoutMillis);
  /** The run whose page was last written: whoever begins another one finds its notes. */
  let alone: string | undefined;

  return {
    url: `${url.href}/${encodeURIComponent(wanted.table)}`,
    identity: `${pathIdentity(url)}/${encodeURIComponent(wanted.table)}`,
    sequential: true,
    async put(object, signal) {
      segmentsOf(object.name);
      const whole = await wholeObject(object);
      const page: Page = { object: whole, records: recordsOf(whole), alone };
      await connection.use(
        (file) => file.write((database) => store(database, wanted, page), signal),
        signal,
      );
      if (page.records) alone = foldersOf(object.name).run;
    },
    async *get(name, signal) {
      segmentsOf(name);
      const read = (database: DatabaseSync) => readNoted(database, name);
      yield await connection.use((file) => file.read(read, signal), signal);
      signal.throwIfAborted();
    },
    list: (folder, signal) =>
      listInParts(folder, (part) => {
        const look = (database: DatabaseSync) => listNoted(database, wanted.table, part);
        return connection.use((file) => file.read(look, signal), signal);
      }),
    textColumns(signal) {
      const look = (database: DatabaseSync) => textColumnsOf(describeTable(database, wanted));
      return connection.use((file) => file.read(look, signal), signal);
    },
    finish: async () => {},
    close: () => connection.close(),
  } satisfies Destination;
};

/** An object, and what of it becomes rows. */
interface Page {
  readonly object: WholeObject;
  readonly records: Uint8Array | undefined;
  /** The run that needs not be asked for others beside it. */
  readonly alone: string | undefined;
}

/** Within one transaction: the note that the object is stored, and, of a page, its rows. */
function store(database: DatabaseSync, wanted: TableOptions, page: Page): void {
  const { object, records, alone } = page;
  const table = describeTable(database, wanted);
  openNotes(database);
  if (!noteObject(database, object, records && table)) {
    if (records?.length) refuseEmptied(database, table, object.name);
    return;
  }
  if (!records) return;
  if (foldersOf(object.name).run !== alone) refuseSecondRun(database, table, object.name);
  writeRows(database, table, records);
}

function refuseEmptied(database: DatabaseSync, { name }: SqliteTable, page: string): void {
  const found = prepare(database, `select 1 from main.${quoteName(name)} limit 1`).get();
  if (!found) throw emptiedTable(page, name);
}

function refuseSecondRun(database: DatabaseSync, table: SqliteTable, page: string): void {
  if (table.key.length > 0) return;
  const run = findUnfinished(database, table, page);
  if (run !== undefined) throw unfinishedRun(run, table.name);
}

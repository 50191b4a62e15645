/**
 * Destination `postgres:` · the records of pages as rows of a table.
 *
 * takes / gives  pages of NDJSON, neither compressed nor encrypted / nothing back but the manifest and its like
 * holds          one page, once more on its way
 * order          puts one after another, in page order: of rows with the same key the last one stays
 * ends           a put returns when its transaction is committed
 * fails          `destination-refused` (rows that do not fit), `destination-unreachable`, `destination-failed`, `foreign-object`
 *
 * What was stored is noted in `spillway_objects`, beside the table and in the transaction that writes the rows: a page
 * that is put again after a crash is found there, and its rows are not written twice.
 */
import { PipelineError } from "../../errors.ts";
import type { Session } from "../sources/postgres-session.ts";
import type { Destination, OpenDestination } from "./destination.ts";
import { segmentsOf } from "./object-names.ts";
import { createConnection, type Target } from "./postgres-connection.ts";
import { findUnfinished, listNoted, noteObject, readNoted } from "./postgres-notes.ts";
import { writeRows } from "./postgres-rows.ts";
import { holdTable, type Table } from "./postgres-table.ts";
import { emptiedTable, listInParts, unfinishedRun } from "./table-notes.ts";
import { recordsOf, tableOf, textColumnsOf, wholeObject, type WholeObject } from "./table.ts";

export const openPostgres: OpenDestination = async (url, { timeoutMillis, rows }) => {
  const wanted = tableOf(rows, "postgres");
  const connection = createConnection(url, wanted, timeoutMillis);
  return {
    url: `postgres://${url.host}${url.pathname}/${wanted.table}`,
    sequential: true,
    async put(object, signal) {
      segmentsOf(object.name);
      const whole = await wholeObject(object);
      await connection.use((target) => store(target, whole), signal);
    },
    async *get(name, signal) {
      segmentsOf(name);
      const read = ({ session, notes }: Target) => readNoted(session, notes, name);
      yield await connection.use(read, signal);
      signal.throwIfAborted();
    },
    list: (folder, signal) =>
      listInParts(folder, (part) =>
        connection.use(
          ({ session, notes, table }) => listNoted(session, notes, table, part),
          signal,
        ),
      ),
    textColumns: (signal) => connection.use(async ({ table }) => textColumnsOf(table), signal),
    finish: async () => {},
    close: () => connection.close(),
  } satisfies Destination;
};

/** One transaction: the note that the object is stored, and, of a page, its rows. */
async function store({ session, table: found, notes }: Target, object: WholeObject): Promise<void> {
  const records = recordsOf(object);
  await session.ask("begin");
  const table = records ? await holdTable(session, found) : found;
  const isNew = await noteObject(session, notes, object, records && table);
  if (!isNew) {
    await session.ask("rollback");
    if (records?.length) await refuseEmptied(session, table, object.name);
    return;
  }
  if (records) {
    await refuseSecondRun({ session, table, notes }, object.name);
    await writeRows(session, table, records);
  }
  const { command } = await session.ask("commit");
  if (command === "COMMIT") return;
  throw new PipelineError("destination-failed", `the server ended the transaction with ${command}`);
}

async function refuseEmptied(session: Session, { name }: Table, page: string): Promise<void> {
  const { rows } = await session.ask(`select exists (select from ${name})`);
  if (rows[0]?.[0] !== "t") throw emptiedTable(page, name);
}

async function refuseSecondRun({ session, table, notes }: Target, page: string): Promise<void> {
  if (table.key.length > 0) return;
  const run = await findUnfinished(session, notes, table, page);
  if (run !== undefined) throw unfinishedRun(run, table.name);
}

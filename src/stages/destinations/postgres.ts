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
import { openSession, type Session } from "../sources/postgres-session.ts";
import type { Destination, OpenDestination, StoredObject } from "./destination.ts";
import { patience, persist, TryAgain } from "./retry.ts";
import { findUnfinished, listNoted, noteObject, openNotes, readNoted } from "./postgres-notes.ts";
import { writeRows } from "./postgres-rows.ts";
import { describeTable, type Table } from "./postgres-table.ts";
import { emptiedTable, unfinishedRun } from "./table-notes.ts";
import { recordsOf, tableOf } from "./table.ts";

/** A connection that knows its table. */
interface Target {
  readonly session: Session;
  readonly table: Table;
  /** Where what was stored is noted. */
  readonly notes: string;
}

const connectMillis = 10_000;

export const openPostgres: OpenDestination = async (url, { timeoutMillis, rows }) => {
  const wanted = tableOf(rows, "postgres");
  const shown = `postgres://${url.host}${url.pathname}/${wanted.table}`;
  const life = new AbortController();
  let target: Promise<Target> | undefined;

  const connect = async (): Promise<Target> => {
    const options = { url: url.href, connectMillis, answerMillis: timeoutMillis };
    const session = await openSession(options, life.signal);
    try {
      await session.ask("set timezone = 'UTC'");
      // Whoever made this weaker did not mean that acknowledged pages may go with a power cut.
      await session.ask(
        "select set_config('synchronous_commit', 'on', false) where current_setting('synchronous_commit') in ('off', 'local')",
      );
      const table = await describeTable(session, wanted);
      return { session, table, notes: await openNotes(session, table) };
    } catch (error) {
      await session.close();
      throw error;
    }
  };
  /** The connection there is, or a new one after it failed. */
  const using = async <T>(
    signal: AbortSignal,
    work: (target: Target) => Promise<T>,
  ): Promise<T> => {
    const attempt = async () => {
      signal.throwIfAborted();
      target ??= connect();
      try {
        const open = await target;
        const stop = () => open.session.fail(signal.reason);
        signal.addEventListener("abort", stop, { once: true });
        return await work(open).finally(() => signal.removeEventListener("abort", stop));
      } catch (error) {
        // Whatever state it is in, the server rolls back what was not committed.
        const broken = target;
        target = undefined;
        await broken.then(({ session }) => session.close()).catch(() => {});
        signal.throwIfAborted();
        throw asDestination(error);
      }
    };
    return persist(attempt, signal, patience);
  };

  return {
    url: shown,
    sequential: true,
    put: (object, signal) => using(signal, (open) => store(open, object)),
    async *get(name, signal) {
      yield await using(signal, ({ session, notes }) => readNoted(session, notes, name));
    },
    async *list(folder, signal) {
      yield* await using(signal, ({ session, notes, table }) =>
        listNoted(session, notes, table, folder),
      );
    },
    finish: async () => {},
    async close() {
      await target?.then(({ session }) => session.close()).catch(() => {});
      life.abort();
    },
  } satisfies Destination;
};

/** One transaction: the note that the object is stored, and, of a page, its rows. */
async function store({ session, table, notes }: Target, object: StoredObject): Promise<void> {
  const records = recordsOf(object);
  await session.ask("begin");
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

const codesHere = {
  "source-unreachable": "destination-unreachable",
  "source-failed": "destination-failed",
  "source-refused": "destination-refused",
  "source-bad-data": "destination-refused",
} as const;

/** What a session says of a source, said of a destination; what may pass is tried again. */
function asDestination(error: unknown): unknown {
  if (!(error instanceof PipelineError)) return error;
  const code = codesHere[error.code as keyof typeof codesHere];
  if (code === undefined) return error;
  const { details } = error;
  const why = details["sqlstate"] ? ` (SQLSTATE ${details["sqlstate"]})` : "";
  const failure =
    code === "destination-refused" && why
      ? new PipelineError(
          code,
          `the server refused the rows of a page${why}; expected records that fit the table, and rights to write it`,
          { details },
        )
      : new PipelineError(code, error.message, { details });
  return code === "destination-refused" ? failure : new TryAgain(failure);
}

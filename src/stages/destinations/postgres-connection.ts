/** A connection that knows its table, opened anew after it failed: work on it is done one after another, and tried again. */
import { PipelineError } from "../../errors.ts";
import { openSession, type Session } from "../sources/postgres-session.ts";
import { untilAborted } from "../until-aborted.ts";
import type { TableOptions } from "./destination.ts";
import { openNotes } from "./postgres-notes.ts";
import { describeTable, type Table } from "./postgres-table.ts";
import { patience, persist, TryAgain } from "./retry.ts";
import { notesName } from "./table-notes.ts";

export interface Target {
  readonly session: Session;
  readonly table: Table;
  /** Where what was stored is noted. */
  readonly notes: string;
}

export interface Connection {
  /** @throws PipelineError of a destination; the signal's reason */
  use<T>(work: (target: Target) => Promise<T>, signal: AbortSignal): Promise<T>;
  close(): Promise<void>;
}

const connectMillis = 10_000;

/** Connects when it is first used; an answer may take `answerMillis`. */
export function createConnection(url: URL, wanted: TableOptions, answerMillis: number): Connection {
  const life = new AbortController();
  let target: Promise<Target> | undefined;
  let last: Promise<unknown> = Promise.resolve();
  const connect = async (): Promise<Target> => {
    const session = await openSession({ url: url.href, connectMillis, answerMillis }, life.signal);
    try {
      return await makeReady(session, wanted);
    } catch (error) {
      await session.close();
      throw error;
    }
  };
  /** Whatever state it is in, the server rolls back what was not committed. */
  const drop = async () => {
    const broken = target;
    target = undefined;
    await broken?.then(({ session }) => session.close()).catch(() => {});
  };
  return {
    use(work, signal) {
      const attempt = async () => {
        signal.throwIfAborted();
        target ??= connect();
        try {
          const open = await untilAborted(target, signal);
          const stop = () => open.session.fail(signal.reason);
          signal.addEventListener("abort", stop, { once: true });
          return await work(open).finally(() => signal.removeEventListener("abort", stop));
        } catch (error) {
          const dropped = drop();
          signal.throwIfAborted();
          await dropped;
          throw asDestination(error);
        }
      };
      const turn = last.then(() => persist(attempt, signal, patience));
      last = turn.catch(() => {});
      return turn;
    },
    async close() {
      await last;
      await drop();
      // A login that nobody waited for any more ends with it.
      life.abort();
    },
  };
}

/** What a role or a database may say otherwise: texts would be read as other values, digests printed otherwise, and a page may take its `timeout`. */
const settings = {
  timezone: "UTC",
  array_nulls: "on",
  xmloption: "content",
  bytea_output: "hex",
  statement_timeout: "0",
  lock_timeout: "0",
  idle_in_transaction_session_timeout: "0",
  transaction_timeout: "0",
};

async function makeReady(session: Session, wanted: TableOptions): Promise<Target> {
  // Servers before 17 have no transaction_timeout.
  await session.ask(
    "select set_config(key, value, false) from json_each_text($1) where current_setting(key, true) is not null",
    [JSON.stringify(settings)],
  );
  // Whoever made this weaker did not mean that acknowledged pages may go with a power cut.
  await session.ask(
    "select set_config('synchronous_commit', 'on', false) where current_setting('synchronous_commit') in ('off', 'local')",
  );
  const table = await describeTable(session, wanted);
  return { session, table, notes: await openNotes(session, table) };
}

const codesHere = {
  "source-unreachable": "destination-unreachable",
  "source-failed": "destination-failed",
  "source-refused": "destination-refused",
  "source-bad-data": "destination-refused",
} as const;

/** Invalid authorization, invalid database name. */
const ofLogin = /^(?:28|3D)/;
const readOnly = "25006";

/** What a session says of a source, said of a destination; what may pass is tried again. */
export function asDestination(error: unknown): unknown {
  if (!(error instanceof PipelineError)) return error;
  const code = codesHere[error.code as keyof typeof codesHere];
  if (code === undefined) return error;
  const { details } = error;
  const { sqlstate } = details;
  const isOfRows = code === "destination-refused" && sqlstate && !ofLogin.test(String(sqlstate));
  const expected =
    sqlstate === readOnly
      ? "a server and a user that may write; a standby only reads"
      : `records that fit the table, and rights to write it and ${notesName} beside it`;
  const message = isOfRows
    ? `the server refused the rows of a page (SQLSTATE ${sqlstate}); expected ${expected}`
    : error.message.replaceAll("`url`", "`to`");
  const failure = new PipelineError(code, message, { details });
  return code === "destination-refused" ? failure : new TryAgain(failure);
}

/**
 * One guarded connection to MySQL or MariaDB.
 *
 * `mysql2` can wait for ever when a connection dies while rows flow, and announces the end of a result after an error, too.
 * Here the first failure of any kind (server, socket, deadline, abort) is latched in `life` for ever, every wait races
 * against it, and a server that is still busy is told to stop before we leave.
 */
import { formatDuration } from "../atoms.ts";
import { PipelineError } from "../../errors.ts";
import { untilAborted } from "../until-aborted.ts";
import {
  connect,
  type Connection,
  type ConnectionParts,
  type Running,
  type Statement,
} from "./mysql-connection.ts";
import { explain } from "./mysql-errors.ts";
import type { MysqlPlace } from "./mysql-url.ts";

export interface SessionOptions {
  readonly place: MysqlPlace;
  /** Longest wait for the connection to be usable. */
  readonly connectMillis: number;
  /** Longest silence of the server while an answer is awaited. */
  readonly answerMillis: number;
}

type Cells = readonly (string | number | null)[];

export interface Session {
  /** Fires once, with the first failure as its reason. */
  readonly life: AbortSignal;
  readonly parts: ConnectionParts;
  /** Rows received so far, once they flow: told where the connection ends. */
  received: number | undefined;
  /** Latches the first failure and ends the connection. */
  fail(reason: unknown): void;
  /** Runs a statement of ours, whose answer is small. */
  ask(sql: string): Promise<readonly Cells[]>;
  prepare(sql: string): Promise<Statement>;
  /** Starts a statement that answers row by row. Until `settle` the connection counts as busy. */
  start(statement: Statement, values: readonly unknown[]): { command: Running; settle(): void };
  /** Fails the session when nobody says `heard` for too long. */
  listen(): Listening;
  /** Ends the connection within a second or two; a busy server is told to stop first. */
  close(): Promise<void>;
}

export interface Listening {
  heard(): void;
  stop(): void;
}

const goodbyeMillis = 700;

/**
 * Connects and logs in.
 * @throws PipelineError `source-unreachable`, `source-refused`; the signal's reason when it fires
 */
export async function openSession(options: SessionOptions, signal: AbortSignal): Promise<Session> {
  signal.throwIfAborted();
  const connection = await connect(options.place, options.connectMillis);
  const life = new AbortController();
  const work: Work = { open: 0, session: undefined, leaving: undefined };
  const close = () => {
    signal.removeEventListener("abort", stop);
    return (work.leaving ??= leave(connection, options.place, work.open > 0));
  };
  const fail = (reason: unknown) => {
    if (!work.leaving) life.abort(reason);
    void close();
  };
  const stop = () => fail(signal.reason);
  signal.addEventListener("abort", stop, { once: true });
  const lose = (error?: unknown) =>
    fail(explain(error, work.session ? "query" : "connect", work.session?.received));
  connection.on("error", lose);
  connection.on("end", () => lose());
  const listen = () => listenFor(options.answerMillis, fail);

  const answer = async <T>(question: () => Promise<T>): Promise<T> => {
    life.signal.throwIfAborted();
    const listening = listen();
    work.open += 1;
    try {
      return await untilAborted(question(), life.signal);
    } catch (error) {
      // What ended the session is the reason, whoever gave it.
      throw life.signal.aborted ? life.signal.reason : explain(error, "query");
    } finally {
      work.open -= 1;
      listening.stop();
    }
  };
  const parts = connection as unknown as ConnectionParts;
  await untilAborted(whenConnected(connection), life.signal);
  const session: Session = {
    life: life.signal,
    received: undefined,
    parts,
    fail,
    listen,
    close,
    ask: (sql) => answer(() => query(connection, sql)),
    prepare: (sql) => answer(() => prepare(parts, sql)),
    start(statement, values) {
      life.signal.throwIfAborted();
      work.open += 1;
      // No reader is compiled for a column named `__proto__` or the like.
      parts.config.disableEval = statement.columns.some(({ name }) => name.startsWith("__"));
      return { command: statement.execute(values), settle: () => (work.open -= 1) };
    },
  };
  return (work.session = session);
}

interface Work {
  /** Questions that are not answered yet. */
  open: number;
  /** There once the server took the login. */
  session: Session | undefined;
  leaving: Promise<void> | undefined;
}

function whenConnected(connection: Connection): Promise<void> {
  return new Promise((resolve) => connection.once("connect", () => resolve()));
}

function query(connection: Connection, sql: string): Promise<readonly Cells[]> {
  return new Promise((resolve, reject) => {
    connection.query(sql, (error: Error | null, rows: unknown) => {
      if (error) reject(error);
      else resolve(Array.isArray(rows) ? (rows as Cells[]) : []);
    });
  });
}

function prepare(parts: ConnectionParts, sql: string): Promise<Statement> {
  return new Promise((resolve, reject) => {
    parts.prepare(sql, (error, statement) => {
      if (error) reject(error);
      else resolve(statement);
    });
  });
}

function listenFor(answerMillis: number, fail: (reason: unknown) => void): Listening {
  const silent = () =>
    fail(
      new PipelineError(
        "source-failed",
        `the server said nothing for ${formatDuration(answerMillis)}; expected it to answer, or \`timeout\` to be longer than its longest pause`,
      ),
    );
  let last: NodeJS.Immediate | undefined;
  // What came while this thread was busy, or stopped, is heard of first.
  const timer = setTimeout(() => (last = setImmediate(silent)), answerMillis);
  return {
    heard() {
      clearImmediate(last);
      timer.refresh();
    },
    stop() {
      clearImmediate(last);
      clearTimeout(timer);
    },
  };
}

async function leave(connection: Connection, place: MysqlPlace, isBusy: boolean): Promise<void> {
  const { threadId, stream } = connection as unknown as ConnectionParts;
  if (isBusy && threadId !== null) await killQuery(place, threadId);
  if (!isBusy)
    await within(goodbyeMillis, (done) => {
      connection.end(() => done());
    });
  connection.destroy();
  (connection as unknown as ConnectionParts).stream.destroy();
  // Under TLS there are two sockets.
  stream.destroy();
}

/** So that a server deep in a sort does not go on without us. */
async function killQuery(place: MysqlPlace, threadId: number): Promise<void> {
  const messenger = await connect(place, goodbyeMillis);
  await within(goodbyeMillis, (done) => {
    messenger.on("error", done);
    messenger.on("end", done);
    messenger.query(`KILL QUERY ${threadId}`, done);
  });
  messenger.destroy();
  (messenger as unknown as ConnectionParts).stream.destroy();
}

function within(millis: number, begin: (done: () => void) => void): Promise<void> {
  return new Promise((resolve) => {
    const timer = setTimeout(resolve, millis);
    begin(() => {
      clearTimeout(timer);
      resolve();
    });
  });
}

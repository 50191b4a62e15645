/**
 * One guarded connection to PostgreSQL.
 *
 * `pg` can hang when a connection dies and can mistake an error for the end of data. Here the first failure of any
 * kind (server, socket, deadline, abort) is latched in `life` for ever, every wait races against it, and a server
 * that is still busy is told to stop before we leave.
 */
import type { Client, Connection } from "pg";
import type { Socket } from "node:net";
import { cancelBackend, type ClientParts, createClient } from "./postgres-client.ts";
import { explain } from "./postgres-errors.ts";
import { type Backend, type Listening, listen } from "./postgres-silence.ts";
import { directReads, type DirectSocket } from "./postgres-socket.ts";

export interface SessionOptions {
  readonly url: string;
  /** Longest wait for the connection to be usable. */
  readonly connectMillis: number;
  /** Longest silence of the server while an answer is awaited. */
  readonly answerMillis: number;
}

/** A result column as the protocol describes it. */
export interface Field {
  readonly name: string;
  readonly dataTypeID: number;
  /** The column of a table that it is; 0 and 0 where it is computed. */
  readonly tableID: number;
  readonly columnID: number;
}

export interface Answer {
  readonly command: string;
  readonly rows: readonly (readonly (string | null)[])[];
}

/** What `pg` takes for a query, in words of our own: whoever compiles against us need not have the types of `pg`. */
export interface Submittable {
  submit(connection: object): void;
}

export interface StartedQuery {
  readonly socket: Socket;
  /** Absent where Node has no such reads for TLS. */
  readonly direct?: DirectSocket["direct"];
  settle(): void;
}

export interface Session {
  readonly options: SessionOptions;
  /** Fires once, with the first failure as its reason. */
  readonly life: AbortSignal;
  /** What the server calls this session, once it was asked: then its silence can be understood. */
  backend: Backend | undefined;
  /** Latches the first failure and ends the connection. */
  fail(reason: unknown): void;
  /** Watches a wait for the server, and fails when its silence lasts too long. */
  listen(rows?: () => number): Listening;
  /** Runs a statement whose answer is small; every value is the server's text. */
  ask(sql: string, values?: readonly (string | Uint8Array | null)[]): Promise<Answer>;
  /** Asks for the result columns of a statement without running it; none for one that gives no rows. */
  describe(sql: string): Promise<readonly Field[] | undefined>;
  /** Starts a query that answers in pieces. Until `settle` the connection counts as busy. */
  start(query: Submittable): StartedQuery;
  /** Ends the connection within a second or two; a busy server is cancelled first. */
  close(): Promise<void>;
}

const goodbyeMillis = 1000;

/** Column texts as the server sent them: no digit, microsecond or name is lost in a parser. */
export const rawTexts = { getTypeParser: () => (text: string) => text };

/**
 * Connects and logs in.
 * @throws PipelineError `source-unreachable`, `source-refused`, `config-invalid`; the signal's reason when it fires.
 */
export async function openSession(options: SessionOptions, signal: AbortSignal): Promise<Session> {
  signal.throwIfAborted();
  const made = createClient(options);
  const { client } = made;
  let { direct } = made;
  const parts = client as unknown as ClientParts;
  const life = new AbortController();
  const work = { open: 0, gone: false, closing: undefined as Promise<void> | undefined };
  const close = () => (work.closing ??= leave(client, work));
  const fail = (reason: unknown) => {
    if (!work.closing) life.abort(reason);
    void close();
  };
  const stop = () => fail(signal.reason);
  signal.addEventListener("abort", stop, { once: true });
  client.on("error", (error) => fail(explain(error, "query")));
  client.on("end", () => {
    work.gone = true;
    signal.removeEventListener("abort", stop);
    fail(explain(undefined, "query"));
  });
  await until(connect(client, fail), life.signal);

  const answer = async <T>(question: () => Promise<T>): Promise<T> => {
    life.signal.throwIfAborted();
    const listening = listen(session);
    work.open += 1;
    try {
      return await until(question(), life.signal);
    } catch (error) {
      // What ended the session is the reason, whoever gave it.
      throw life.signal.aborted ? life.signal.reason : explain(error, "query");
    } finally {
      work.open -= 1;
      listening.stop();
    }
  };
  const session: Session = {
    options,
    backend: undefined,
    life: life.signal,
    fail,
    listen: (rows) => listen(session, rows),
    close,
    ask: (text, values = []) =>
      answer(() => client.query({ text, values: [...values], rowMode: "array", types: rawTexts })),
    describe: (sql) => answer(() => describeStatement(client, sql)),
    start(query) {
      life.signal.throwIfAborted();
      work.open += 1;
      client.query(query);
      const settle = () => (work.open -= 1);
      const socket = parts.connection.stream;
      direct ??= directReads(socket);
      return { socket, ...(direct && { direct }), settle };
    },
  };
  return session;
}

function connect(client: Client, fail: (reason: unknown) => void): Promise<void> {
  return new Promise((resolve) => {
    // A callback, since `pg` announces the end of the connection before a promise could tell the reason.
    client.connect((error: Error | null) => {
      if (error) fail(explain(error, "connect"));
      else resolve();
    });
  });
}

/** A promise that ends no later than the session does. */
function until<T>(promise: Promise<T>, life: AbortSignal): Promise<T> {
  return new Promise((resolve, reject) => {
    const leave = () => reject(life.reason as Error);
    life.addEventListener("abort", leave, { once: true });
    if (life.aborted) leave();
    promise
      .then(resolve, reject)
      .finally(() => life.removeEventListener("abort", leave))
      .catch(() => {});
  });
}

/** Parse and Describe without Execute: https://www.postgresql.org/docs/current/protocol-flow.html */
function describeStatement(client: Client, sql: string): Promise<readonly Field[] | undefined> {
  return new Promise((resolve, reject) => {
    let fields: readonly Field[] | undefined;
    client.query({
      submit(connection: Connection) {
        connection.parse({ name: "", text: sql, types: [] }, true);
        connection.describe({ type: "S", name: "" }, true);
        connection.sync();
      },
      handleRowDescription: (message: { fields: Field[] }) => (fields = message.fields),
      handleReadyForQuery: () => resolve(fields),
      handleError: reject,
    } as Submittable);
  });
}

async function leave(
  client: Client,
  work: { readonly open: number; readonly gone: boolean },
): Promise<void> {
  if (work.gone) return;
  const { stream } = (client as unknown as ClientParts).connection;
  if (work.open > 0) {
    await cancelBackend(client as unknown as ClientParts);
    stream.destroy();
    return;
  }
  const timer = setTimeout(() => stream.destroy(), goodbyeMillis);
  await client.end().catch(() => {});
  clearTimeout(timer);
}

/**
 * Questions that stages of one's own ask a PostgreSQL while rows pass: one connection and one read-only snapshot for each
 * URL, from the first question to the end of the run. What is asked is watched (`query-watch.ts`).
 */
import { beginSnapshot } from "../sources/postgres-snapshot.ts";
import { openSession, type Session } from "../sources/postgres-session.ts";
import { describeQuery, type DescribedQuery } from "../sources/postgres-types.ts";
import type { Row } from "../nouns.ts";
import { documentMaker } from "../transforms/documents.ts";
import { watchQueries, type QueryStats } from "./query-watch.ts";

/** What may be bound to `$1`, `$2`, … */
export type Parameter = string | number | boolean | null;

/**
 * Asks for rows, as `map` would see them: integers of 2 and 4 bytes and booleans as such, all else as the server's text.
 * The answer is held whole, so ask for little.
 * @throws PipelineError `source-unreachable`, `source-refused`, `source-failed`; after a failure the run cannot go on
 */
export type Query = (
  url: string,
  sql: string,
  params?: readonly Parameter[],
) => Promise<readonly Row[]>;

export interface Queries {
  readonly query: Query;
  stats(): readonly QueryStats[];
  /** Ends the connections. */
  close(): Promise<void>;
}

const connectMillis = 10_000;
const answerMillis = 60_000;
/** Statements whose columns are remembered; pasted values make each question one of its own. */
const describedMost = 100;

interface Connection {
  readonly session: Session;
  readonly described: Map<string, DescribedQuery>;
  /** The question before, however it ended: a connection answers one at a time. */
  last: Promise<unknown>;
}

export function createQueries(signal: AbortSignal, warn: (message: string) => void): Queries {
  const connections = new Map<string, Promise<Connection>>();
  const watch = watchQueries(warn);
  const connect = async (url: string): Promise<Connection> => {
    const session = await openSession({ url, connectMillis, answerMillis }, signal);
    await beginSnapshot(session, { timeout: answerMillis });
    return { session, described: new Map(), last: Promise.resolve() };
  };
  const ask = async (
    connection: Connection,
    sql: string,
    params: readonly Parameter[],
  ): Promise<readonly Row[]> => {
    const started = performance.now();
    const { sql: asked, columns } = await describe(connection, sql);
    const values = params.map((value) => (value === null ? null : String(value)));
    const { rows } = await connection.session.ask(asked, values);
    watch.answered(sql, params, performance.now() - started);
    return rows.map(documentMaker({ shape: "tuples", columns, rows: [], bytes: 0 }));
  };
  return {
    async query(url, sql, params = []) {
      const known = connections.get(url) ?? connect(url);
      connections.set(url, known);
      const connection = await known;
      const answer = connection.last.then(() => ask(connection, sql, params));
      connection.last = answer.catch(() => {});
      return await answer;
    },
    stats: watch.stats,
    async close() {
      const opened = await Promise.allSettled(connections.values());
      const sessions = opened.flatMap((one) => (one.status === "fulfilled" ? [one.value] : []));
      await Promise.all(sessions.map(({ session }) => session.close()));
    },
  };
}

async function describe({ session, described }: Connection, sql: string): Promise<DescribedQuery> {
  const known = described.get(sql);
  if (known) return known;
  const asked = await describeQuery(session, sql, "json");
  described.set(sql, asked);
  const [oldest] = described.keys();
  if (described.size > describedMost && oldest !== undefined) described.delete(oldest);
  return asked;
}

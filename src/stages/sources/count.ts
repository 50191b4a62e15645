/** How many rows a source has, without reading them: as its server or its database counts. */
import { PipelineError } from "../../errors.ts";
import { openQuery } from "./postgres.ts";
import { dropSemicolons } from "./postgres-types.ts";
import type { sqlite } from "./sqlite.ts";
import { openSnapshot, translate } from "./sqlite-snapshot.ts";

export interface SourceCount {
  readonly rows: number;
  /** False for an estimate. */
  readonly exact: boolean;
}

/** Longest count on a database that others work with; then its planner's estimate is good enough. */
const countMillis = 20_000;

/** In one snapshot, as an export would see it; of a query with a watermark all rows, whatever was exported before. */
export async function countPostgres(
  given: Parameters<typeof openQuery>[0],
  signal: AbortSignal,
): Promise<SourceCount> {
  const statementTimeout = Math.min(given.statementTimeout ?? countMillis, countMillis);
  const whole = { ...given, statementTimeout, watermark: undefined };
  const { session, values, expects } = await openQuery(whole, signal, "text");
  try {
    const sql = `select count(*) from (${dropSemicolons(given.query)}\n) as counted`;
    const { rows } = await session.ask(sql, values);
    return { rows: Number(rows[0]?.[0]), exact: true };
  } catch (error) {
    signal.throwIfAborted();
    if (expects && isTooLong(error)) return expects;
    throw error;
  } finally {
    await session.close();
  }
}

/** SQLSTATE `query_canceled`: what a statement ends with that takes longer than it may. */
const isTooLong = (error: unknown): boolean =>
  error instanceof PipelineError && error.details["sqlstate"] === "57014";

type SqliteConfig = Parameters<typeof sqlite.holds>[0];

export async function countSqlite(
  { path, query, params, maxRecord }: SqliteConfig,
  signal: AbortSignal,
): Promise<SourceCount> {
  const snapshot = await openSnapshot(path, maxRecord, signal);
  try {
    const sql = `select count(*) as rows from (${dropSemicolons(query)}\n)`;
    const values = params.map((param) => (typeof param === "boolean" ? Number(param) : param));
    const counted = snapshot.database.prepare(sql).get(...values);
    return { rows: Number(counted?.["rows"]), exact: true };
  } catch (error) {
    signal.throwIfAborted();
    throw translate(error, path);
  } finally {
    await snapshot.close();
  }
}

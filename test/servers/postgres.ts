/** One real PostgreSQL for all tests of a mocha process: started by the first that asks, it ends with the process. */
import {
  type PostgresOptions,
  type RunningPostgres,
  startPostgres,
} from "../../src/cli/demo-postgres.ts";
import * as v from "valibot";
import type { RowBatch } from "../../src/stages/nouns.ts";
import { openSession } from "../../src/stages/sources/postgres-session.ts";
import { postgres } from "../../src/stages/sources/postgres.ts";
import { createLease } from "../../src/stages/lease.ts";
import type { StageContext } from "../../src/stages/stage.ts";

let server: Promise<RunningPostgres> | undefined;

/** The shared server: trusts local clients; the database `postgres` is everyone's, so name your tables apart. */
export function sharedPostgres(): Promise<RunningPostgres> {
  return (server ??= startPostgres());
}

/** A server of one's own, to be stopped by the caller. */
export function ownPostgres(options: PostgresOptions): Promise<RunningPostgres> {
  return startPostgres(options);
}

/** Runs statements one by one on a fresh connection; gives the rows of the last as texts. */
export async function runSql(
  url: string,
  ...statements: readonly string[]
): Promise<readonly (readonly (string | null)[])[]> {
  const session = await openSession(
    { url, connectMillis: 10_000, answerMillis: 60_000 },
    new AbortController().signal,
  );
  try {
    let rows: readonly (readonly (string | null)[])[] = [];
    for (const statement of statements) ({ rows } = await session.ask(statement));
    return rows;
  } finally {
    await session.close();
  }
}

/** Opens the source as the runner does: config checked and completed, a signal and an empty lease in the context. */
export function openSource(
  config: v.InferInput<typeof postgres.config>,
  signal = new AbortController().signal,
): AsyncGenerator<RowBatch> {
  const context = { signal, log: console, lease: createLease(0) } as unknown as StageContext;
  const rows = postgres.open(v.parse(postgres.config, config), context, noInput());
  return rows as AsyncGenerator<RowBatch>;
}

async function* noInput(): AsyncGenerator<never> {}

/** Reads a query to its end. */
export async function readSource(
  config: v.InferInput<typeof postgres.config>,
): Promise<readonly RowBatch[]> {
  const batches: RowBatch[] = [];
  for await (const batch of openSource(config)) batches.push(batch);
  return batches;
}

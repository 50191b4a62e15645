/** One real PostgreSQL for all tests of a mocha process: started by the first that asks, stopped at the end. */
import {
  type PostgresOptions,
  type RunningPostgres,
  startPostgres,
} from "../../src/cli/demo-postgres.ts";
import { openSession } from "../../src/stages/sources/postgres-session.ts";

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

after(async () => {
  await (await server)?.stop();
});

/** What the proof of sources needs of its server besides the table. */
import { Client } from "pg";

export const queries = {
  plain: "select * from kills order by id",
  /** The same rows, and a notice of the server with each of them. */
  noisy: "select * from kills where noisy(id) order by id",
};

export async function withClient<T>(url: string, work: (client: Client) => Promise<T>): Promise<T> {
  const client = new Client({ connectionString: url });
  let lost: Error | undefined;
  client.on("error", (error) => (lost ??= error));
  await client.connect();
  try {
    return await work(client);
  } catch (error) {
    throw lost ?? error;
  } finally {
    await client.end().catch(() => {});
  }
}

/** A function that chatters, and a role whose every limit is shorter than the pauses of a trial. */
export async function prepareServer(url: string): Promise<void> {
  await withClient(url, async (client) => {
    await client.query(
      `create function noisy(id bigint) returns boolean language plpgsql as $$ begin
         raise notice 'storm %', repeat('x', (id % 300)::int); return true; end $$`,
    );
    await client.query("create role limited login superuser");
    for (const setting of [
      "statement_timeout = 1000",
      "idle_in_transaction_session_timeout = 1000",
      "transaction_timeout = 1000",
      "tcp_user_timeout = 1000",
    ])
      await client.query(`alter role limited set ${setting}`);
  });
}

/** The table a proof exports, and what its export must restore to, told by the server itself. */
import { createHash } from "node:crypto";
import { Client } from "pg";

/** Makes table `kills` whose payload is a function of seed and id, so that every row can be told from every other. */
export async function createTable(url: string, rows: number, seed: number): Promise<void> {
  await withClient(url, async (client) => {
    await client.query(
      "create table kills (id bigint primary key, payload text, noted timestamptz, amount numeric, note jsonb)",
    );
    await client.query(
      `insert into kills select i, repeat(md5($1::text || i), 1 + i % 5),
         timestamptz '2024-01-01' + i * interval '1.000001 seconds', i / 7.0, jsonb_build_object('i', i, 'ä', 'ß"')
       from generate_series(1, $2) i`,
      [String(seed), rows],
    );
  });
}

/** SHA-256 (hex) of the table as NDJSON, written by PostgreSQL alone. */
export async function tableDigest(url: string): Promise<string> {
  return await withClient(url, async (client) => {
    const hash = createHash("sha256");
    const { rows } = await client.query<{ line: string }>(
      "select row_to_json(kills)::text as line from kills order by id",
    );
    for (const { line } of rows) hash.update(`${line}\n`);
    return hash.digest("hex");
  });
}

async function withClient<T>(url: string, work: (client: Client) => Promise<T>): Promise<T> {
  const client = new Client({ connectionString: url });
  await client.connect();
  try {
    await client.query("set timezone to 'UTC'");
    return await work(client);
  } finally {
    await client.end();
  }
}

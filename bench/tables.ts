/** Tables the benchmarks export. */
import { Client } from "pg";

/** Laboratory results: identifiers, times with microseconds, numerics, texts with quotes and unicode, nulls, jsonb; about 290 bytes of JSON a row. */
export async function createResults(url: string, rows: number): Promise<void> {
  const client = new Client({ connectionString: url });
  await client.connect();
  try {
    await client.query(`
      create table results as
      select i::bigint as id, md5(i::text)::uuid as patient,
             timestamptz '2024-01-01' + i * interval '1.000001 seconds' as effective,
             (i % 1000)::int as sequence, round(i / 7.0, 4) as value, 'mmol/L' as unit,
             '29463-' || i % 10 as code,
             case when i % 3 = 0 then null else repeat('Größe "' || i || '" \\ ', 1 + i % 4) end as note,
             jsonb_build_object('status', 'final', 'n', i) as payload
      from generate_series(1, ${rows}) i`);
    await client.query("vacuum (analyze, freeze) results");
  } finally {
    await client.end();
  }
}

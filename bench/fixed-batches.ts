/** A source with batches of a fixed number of rows, as cursors have them: what the closed loop is measured against. */
import { hash } from "node:crypto";
import { Client } from "pg";
import QueryStream from "pg-query-stream";
import * as v from "valibot";
import type { RowBatch } from "../src/stages/nouns.ts";

interface Config {
  readonly url: string;
  readonly query: string;
  readonly rows: number;
}

const columns = [
  { name: "id", type: "int8", json: "number" },
  { name: "body", type: "text", json: "string" },
] as const;
const asTexts = { getTypeParser: () => (text: string) => text };

async function* readFixed({ url, query, rows: size }: Config): AsyncGenerator<RowBatch> {
  const client = new Client({ connectionString: url });
  await client.connect();
  // `rowMode` and `types` are options of pg's queries that the stream's types leave out.
  const options = { batchSize: size, highWaterMark: size, rowMode: "array", types: asTexts };
  let count = 0;
  let rows: string[][] = [];
  const batch = (): RowBatch => ({
    shape: "tuples",
    columns,
    rows,
    bytes: rows.reduce((sum, [, body]) => sum + 100 + (body?.length ?? 0), 0),
  });
  for await (const row of client.query(new QueryStream(query, [], options as never))) {
    rows.push(row as string[]);
    count += 1;
    if (rows.length < size) continue;
    yield batch();
    rows = [];
  }
  await client.end();
  const consistency = { class: "stream", proof: {} } as const;
  yield { ...batch(), end: { rows: count, consistency, queryDigest: hash("sha256", query) } };
}

export default {
  config: v.strictObject({ url: v.string(), query: v.string(), rows: v.number() }),
  summary: "Rows in batches of a fixed number.",
  takes: "nothing",
  gives: "rows",
  holds: () => 0,
  open: readFixed,
};

/** The ways from a query to records that `bench/records` compares. Each is imported where it runs, so that a process weighs only what it uses. */
import { pipeline } from "node:stream/promises";
import type { RecordBatch } from "../src/stages/nouns.ts";

export interface Counted {
  readonly rows: number;
  readonly bytes: number;
}

export type ReadQuery = (url: string, query: string) => Promise<Counted>;

export const sources = {
  textbook: { name: "textbook: `pg-query-stream` → `JSON.stringify`", load: () => loadStream({}) },
  tuned: {
    name: "… tuned: batches of 1000, `highWaterMark` 1000, `pipeline()`",
    load: () => loadStream({ batchSize: 1000, highWaterMark: 1000 }),
  },
  raw: { name: "its cursor, values as raw texts, JSON by hand", load: loadRawTexts },
  rows: { name: "row path", load: () => loadOurs(true) },
  wire: { name: "**wire path**", load: () => loadOurs(false) },
  copyCsv: { name: "COPY csv, passed through", load: () => loadCopy("csv") },
  copyBinary: { name: "COPY binary, passed through", load: () => loadCopy("binary") },
} satisfies Record<string, { readonly name: string; readonly load: () => Promise<ReadQuery> }>;

export const isSource = (name: string): name is keyof typeof sources =>
  Object.hasOwn(sources, name);

/** Loads what a source needs; what it gives reads. */
export const readSource = (name: keyof typeof sources): Promise<ReadQuery> => sources[name].load();

async function loadStream(options: object): Promise<ReadQuery> {
  const { Client } = await import("pg");
  const { default: QueryStream } = await import("pg-query-stream");
  return async (url, query) => {
    const client = new Client(url);
    await client.connect();
    const counted = { rows: 0, bytes: 0 };
    const stream = client.query(new QueryStream(query, [], options));
    await pipeline(stream, async (rows: AsyncIterable<object>) => {
      for await (const row of rows) {
        counted.bytes += Buffer.from(`${JSON.stringify(row)}\n`).length;
        counted.rows += 1;
      }
    });
    await client.end();
    return counted;
  };
}

/** What PostgreSQL prints without quotes in JSON: bool, the integers, floats, numeric; and json and jsonb as they are. */
const bare: ReadonlySet<number> = new Set([16, 20, 21, 23, 26, 700, 701, 1700, 114, 3802]);

interface RawCursor {
  read(
    rows: number,
    done: (error: Error | undefined, rows: (string | null)[][], result: RawResult) => void,
  ): void;
}
interface RawResult {
  readonly fields: readonly { readonly name: string; readonly dataTypeID: number }[];
}

async function loadRawTexts(): Promise<ReadQuery> {
  const { Client } = await import("pg");
  const { default: QueryStream } = await import("pg-query-stream");
  const types = { getTypeParser: () => (text: string) => text };
  return async (url, query) => {
    const client = new Client(url);
    await client.connect();
    const config = { rowMode: "array" as const, types };
    // The stream is a wrapper around pg-cursor; batches taken from the cursor itself are faster.
    const { cursor } = client.query(new QueryStream(query, [], config)) as unknown as {
      cursor: RawCursor;
    };
    const read = () =>
      new Promise<{ rows: (string | null)[][]; fields: RawResult["fields"] }>((resolve, reject) =>
        cursor.read(1000, (error, rows, result) =>
          error ? reject(error) : resolve({ rows, fields: result.fields }),
        ),
      );
    const counted = { rows: 0, bytes: 0 };
    for (;;) {
      const { rows, fields } = await read();
      if (rows.length === 0) break;
      counted.rows += rows.length;
      counted.bytes += Buffer.from(jsonOf(rows, fields)).length;
    }
    await client.end();
    return counted;
  };
}

function jsonOf(rows: readonly (string | null)[][], fields: RawResult["fields"]): string {
  const columns = fields.map(({ name, dataTypeID }, index) => ({
    key: `${index === 0 ? "{" : ","}${JSON.stringify(name)}:`,
    isBare: bare.has(dataTypeID),
  }));
  let text = "";
  for (const row of rows) {
    for (const [index, { key, isBare }] of columns.entries()) {
      const value = row[index] ?? null;
      text += key + (value === null ? "null" : isBare ? value : JSON.stringify(value));
    }
    text += "}\n";
  }
  return text;
}

async function loadOurs(seesRows: boolean): Promise<ReadQuery> {
  const { parse } = await import("valibot");
  const { createLease } = await import("../src/stages/lease.ts");
  const { postgres } = await import("../src/stages/sources/postgres.ts");
  const { serialize } = await import("../src/stages/formats/serialize.ts");
  const { readRecords } = await import("../src/stages/sources/postgres-wire/read-records.ts");
  return (url, query) => {
    const config = parse(postgres.config, { url, query });
    const { signal } = new AbortController();
    const ctx = { signal, lease: createLease(0) } as Parameters<typeof postgres.open>[1];
    const batches = seesRows
      ? serialize.open({ format: "ndjson" }, ctx, postgres.open(config, ctx, nothing()))
      : readRecords(config, { format: "ndjson" }, 2 ** 20, ctx);
    return count(batches);
  };
}

/** The server's own formats, passed through. */
async function loadCopy(format: "csv" | "binary"): Promise<ReadQuery> {
  const { parse } = await import("valibot");
  const { postgresCopy, readCopy } = await import("../src/stages/sources/postgres-copy.ts");
  return (url, query) => {
    const config = parse(postgresCopy.config, { url, query, format });
    return count(readCopy(config, 2 ** 20, { signal: new AbortController().signal }));
  };
}

async function count(batches: AsyncIterable<RecordBatch>): Promise<Counted> {
  let [rows, bytes] = [0, 0];
  for await (const batch of batches) {
    bytes += batch.bytes.length;
    rows += batch.framing ? 0 : batch.ends.length;
  }
  return { rows, bytes };
}

async function* nothing(): AsyncGenerator<never> {}

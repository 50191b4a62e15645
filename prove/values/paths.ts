/** Every way a query's rows become bytes, as a run goes it; and the server's own words for the same rows. */
import { Client } from "pg";
import * as v from "valibot";
import { PipelineError } from "../../src/errors.ts";
import { fuseStages } from "../../src/pipeline/fuse.ts";
import { pushDown } from "../../src/pipeline/pushdown.ts";
import { serialize } from "../../src/stages/formats/serialize.ts";
import type { RecordBatch } from "../../src/stages/nouns.ts";
import { postgresCopy } from "../../src/stages/sources/postgres-copy.ts";
import { postgres } from "../../src/stages/sources/postgres.ts";
import type { AnyStage } from "../../src/stages/stage.ts";
import { map } from "../../src/stages/transforms/map.ts";
import { select } from "../../src/stages/transforms/select.ts";
import { testContext } from "../../test/contract/stage-contract.ts";
import { readCopy } from "../../test/fixtures/copy.ts";

export type Format = "ndjson" | "json" | "csv";
export type CopyFormat = "csv" | "text" | "binary";

export interface Asked {
  readonly url: string;
  readonly query: string;
  readonly format: Format;
  /** `wire`: straight to records where the plan can · `row`: every stage apart. */
  readonly path: "wire" | "row";
  /** Through a row function that gives each row as it is. */
  readonly mapped?: boolean;
  /** Columns picked by a `select` of the pipeline. */
  readonly columns?: readonly string[];
  readonly pageBytes?: number;
}

const stageOf = (definition: AnyStage, config: unknown) => ({
  name: definition.name,
  definition,
  config: v.parse(definition.config, config),
});

/** The bytes of all records, framing included. */
export async function recordsOf(asked: Asked): Promise<Buffer> {
  const { url, query, format, path, mapped, columns, pageBytes = 2 ** 20 } = asked;
  const stages = [
    stageOf(postgres, { url, query }),
    ...(columns ? [stageOf(select, { columns })] : []),
    ...(mapped ? [stageOf(map, { module: (row: object) => row })] : []),
    stageOf(serialize, { format }),
  ];
  const isApart = path === "row";
  const planned = isApart ? stages : pushDown(stages).stages;
  const ctx = testContext();
  let items: AsyncIterable<unknown> = none();
  for (const stage of fuseStages(planned, isApart, pageBytes).stages)
    items = stage.open(ctx, items);
  return collect(items);
}

export async function copyOf(url: string, query: string, format: CopyFormat): Promise<Buffer> {
  const config = v.parse(postgresCopy.config, { url, query, format });
  return collect(postgresCopy.open(config, testContext(), none()));
}

async function* none(): AsyncGenerator<never> {}

async function collect(items: AsyncIterable<unknown>): Promise<Buffer> {
  const parts: Uint8Array[] = [];
  let [records, proved] = [0, -1];
  for await (const batch of items as AsyncIterable<RecordBatch>) {
    parts.push(batch.bytes.slice());
    if (!batch.framing) records += batch.ends.length;
    proved = batch.end?.rows ?? proved;
  }
  if (records !== proved) throw new Error(`${records} records of ${proved} rows`);
  return Buffer.concat(parts);
}

/** What came of it: bytes, or the code and words of a refusal. Anything else is thrown on. */
export async function outcomeOf(work: Promise<Buffer>): Promise<Buffer | PipelineError> {
  try {
    return await work;
  } catch (error) {
    if (error instanceof PipelineError && error.code !== "internal") return error;
    throw error;
  }
}

/** The settings values are printed in, whatever a role or a database says. */
const printing = [
  "set timezone = 'UTC'",
  "set datestyle = 'ISO, YMD'",
  "set intervalstyle = 'postgres'",
  "set extra_float_digits = 1",
  "set bytea_output = 'hex'",
  "set client_encoding = 'UTF8'",
];

export async function withClient<T>(url: string, work: (client: Client) => Promise<T>): Promise<T> {
  const client = new Client({ connectionString: url });
  await client.connect();
  try {
    return await work(client);
  } finally {
    await client.end();
  }
}

/** What the server itself prints, or nothing where it refuses. */
export const serverSays = {
  /** Each row by `row_to_json`, on one line: raw line breaks stand between the tokens of JSON as stored. */
  rows: (url: string, query: string): Promise<string[] | undefined> =>
    withClient(url, async (client) => {
      for (const setting of printing) await client.query(setting);
      const asked = `select row_to_json(r)::text from (${query}\n) r`;
      const { rows } = await client.query<[string]>({ text: asked, rowMode: "array" });
      return rows.map(([json]) => json.replace(/[\r\n]/g, " "));
    }).catch(refusedByServer),
  copy: (url: string, query: string, format: CopyFormat): Promise<Buffer | undefined> =>
    withClient(url, async (client) => {
      for (const setting of printing) await client.query(setting);
      const options = format === "csv" ? "format csv, header" : `format ${format}`;
      const sql = `copy (${query}\n) to stdout (${options})`;
      return readCopy(sql, (statement) => client.query(statement));
    }).catch(refusedByServer),
};

function refusedByServer(error: unknown): undefined {
  if (/^[0-9A-Z]{5}$/.test(String((error as { code?: unknown }).code))) return undefined;
  throw error;
}

/** Records of a query: as the plan makes them, as it makes them with every stage apart, and as COPY prints them. */
import * as v from "valibot";
import { fuseStages } from "../../../../src/pipeline/fuse.ts";
import type { CsvOptions } from "../../../../src/stages/formats/csv-dialect.ts";
import { createLease } from "../../../../src/stages/lease.ts";
import { serialize } from "../../../../src/stages/formats/serialize.ts";
import type { RecordBatch } from "../../../../src/stages/nouns.ts";
import { postgres } from "../../../../src/stages/sources/postgres.ts";
import type { StageContext } from "../../../../src/stages/stage.ts";
import { copyOut } from "../../../fixtures/copy.ts";

export type Config = v.InferInput<typeof postgres.config>;
export type Format = "ndjson" | "json" | "csv";
export const formats: readonly Format[] = ["ndjson", "json", "csv"];

export interface OpenOptions {
  readonly apart?: boolean;
  readonly dialect?: CsvOptions;
  readonly pageBytes?: number;
  readonly signal?: AbortSignal;
}

/** Opens `postgres` and `serialize` as a run does. */
export function openRecords(
  config: Config,
  format: Format,
  options: OpenOptions = {},
): AsyncGenerator<RecordBatch> {
  const { apart = false, pageBytes = 2 ** 20, dialect = {} } = options;
  const { signal = new AbortController().signal } = options;
  const stages = [
    { name: "postgres", definition: postgres, config: v.parse(postgres.config, config) },
    { name: "serialize", definition: serialize, config: { format, ...dialect } },
  ];
  const ctx = { signal, log: console, lease: createLease(0) } as unknown as StageContext;
  let items: AsyncIterable<unknown> = noInput();
  for (const stage of fuseStages(stages, apart, pageBytes).stages) items = stage.open(ctx, items);
  return items as AsyncGenerator<RecordBatch>;
}

async function* noInput(): AsyncGenerator<never> {}

export interface Written {
  readonly text: string;
  readonly records: number;
  readonly last: RecordBatch;
}

/** Reads all records. */
export async function writeRecords(
  config: Config,
  format: Format,
  options?: OpenOptions,
): Promise<Written> {
  const parts: Uint8Array[] = [];
  let records = 0;
  let last: RecordBatch | undefined;
  for await (const batch of openRecords(config, format, options)) {
    parts.push(batch.bytes.slice());
    if (!batch.framing) records += batch.ends.length;
    last = batch;
  }
  return { text: Buffer.concat(parts).toString("utf8"), records, last: last! };
}

/** What `COPY (query) TO STDOUT (FORMAT csv, …)` prints in the session settings of an export. */
export const copyCsv = async (url: string, query: string, options = "header"): Promise<string> =>
  (await copyOut(url, query, `format csv, ${options}`)).toString("utf8");

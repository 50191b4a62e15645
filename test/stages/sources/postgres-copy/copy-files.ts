/** Files of COPY as the plan makes them. */
import * as v from "valibot";
import { fuseStages } from "../../../../src/pipeline/fuse.ts";
import type { RecordBatch } from "../../../../src/stages/nouns.ts";
import { postgresCopy } from "../../../../src/stages/sources/postgres-copy.ts";
import type { StageContext } from "../../../../src/stages/stage.ts";

export type Config = v.InferInput<typeof postgresCopy.config>;
export type Format = Config["format"];

/** What COPY is told for each format. */
export const copyOptions: Readonly<Record<Format, string>> = {
  csv: "format csv, header",
  text: "format text",
  binary: "format binary",
};
export const formats = Object.keys(copyOptions) as Format[];

export interface OpenOptions {
  readonly pageBytes?: number;
  readonly signal?: AbortSignal;
}

/** Opens the stage as a run does. */
export function openCopy(
  config: Config,
  { pageBytes = 2 ** 20, signal = new AbortController().signal }: OpenOptions = {},
): AsyncGenerator<RecordBatch> {
  const name = "postgres-copy";
  const stage = { name, definition: postgresCopy, config: v.parse(postgresCopy.config, config) };
  const ctx = { signal, log: console } as unknown as StageContext;
  const { stages } = fuseStages([stage], false, pageBytes);
  return stages[0]!.open(ctx, noInput()) as AsyncGenerator<RecordBatch>;
}

async function* noInput(): AsyncGenerator<never> {}

export interface Written {
  readonly file: Buffer;
  readonly records: number;
  readonly first: RecordBatch;
  readonly last: RecordBatch;
}

/** Reads all records and what stands around them. */
export async function writeCopy(config: Config, options?: OpenOptions): Promise<Written> {
  const parts: Uint8Array[] = [];
  let records = 0;
  let first: RecordBatch | undefined;
  let last: RecordBatch | undefined;
  for await (const batch of openCopy(config, options)) {
    parts.push(batch.bytes.slice());
    if (!batch.framing) records += batch.ends.length;
    first ??= batch;
    last = batch;
  }
  return { file: Buffer.concat(parts), records, first: first!, last: last! };
}

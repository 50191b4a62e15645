/** Files of COPY: as the plan makes them, as the server prints them to any client, and taken back by a server. */
import type { Submittable } from "pg";
import * as v from "valibot";
import { fuseStages } from "../../../../src/pipeline/fuse.ts";
import type { RecordBatch } from "../../../../src/stages/nouns.ts";
import { postgresCopy } from "../../../../src/stages/sources/postgres-copy.ts";
import { openSession } from "../../../../src/stages/sources/postgres-session.ts";
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

const waits = { connectMillis: 10_000, answerMillis: 60_000 };

/** Runs one COPY on a fresh connection in the settings of an export. */
async function runCopy(url: string, sql: string, answers: object): Promise<void> {
  const session = await openSession({ url, ...waits }, new AbortController().signal);
  try {
    await session.ask("set timezone = 'UTC'");
    const { promise, resolve, reject } = Promise.withResolvers<void>();
    const { settle } = session.start({
      submit: (connection: { query(sql: string): void }) => connection.query(sql),
      handleCommandComplete() {},
      handleError: reject,
      handleReadyForQuery: resolve,
      ...answers,
    } as unknown as Submittable);
    await promise;
    settle();
  } finally {
    await session.close();
  }
}

/** What `COPY (query) TO STDOUT` prints. */
export async function copyOut(url: string, query: string, format: Format): Promise<Buffer> {
  const parts: Buffer[] = [];
  await runCopy(url, `copy (${query}\n) to stdout (${copyOptions[format]})`, {
    handleCopyData: ({ chunk }: { chunk: Buffer }) => parts.push(Buffer.from(chunk)),
  });
  return Buffer.concat(parts);
}

interface CopyConnection {
  sendCopyFromChunk(bytes: Buffer): void;
  endCopyFrom(): void;
}

/** `COPY table FROM STDIN` of a file. */
export function copyIn(url: string, table: string, format: Format, file: Buffer): Promise<void> {
  return runCopy(url, `copy ${table} from stdin (${copyOptions[format]})`, {
    handleCopyInResponse(connection: CopyConnection) {
      for (let at = 0; at < file.length; at += 65_536)
        connection.sendCopyFromChunk(file.subarray(at, at + 65_536));
      connection.endCopyFrom();
    },
  });
}

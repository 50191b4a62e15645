/**
 * Functions over rows, fused into one with stream-chain: the only file that knows it on the row side.
 *
 * A row function gives a row, `null` or `undefined` to drop it, `many([...])` or a generator for several; it may be
 * async. Several fused cost one crossing, not one each (stream-chain, bench/pipeline-vs-chain).
 */
import { pipeline } from "node:stream/promises";
import { Duplex, Readable, isReadable, isWritable } from "node:stream";
import { gen, isFunctionList, getFunctionList, many } from "stream-chain";
import { PipelineError } from "../errors.ts";
import type { Column, Row, RowBatch } from "../nouns.ts";

// What stream-chain accepts is wider than a type can say; rows in, rows or markers out.
export type RowFunction = (row: Row) => unknown;

/** What a user may give as row work: a function, a generator function, a Transform or a stream-chain chain. */
export type RowWork = RowFunction | Duplex;

export const isRowWork = (value: unknown): value is RowWork =>
  typeof value === "function" || isDuplex(value);

function isDuplex(value: unknown): value is Duplex {
  const stream = value as Duplex;
  return (
    typeof value === "object" &&
    value !== null &&
    isReadable(stream) === true &&
    isWritable(stream) === true
  );
}

/** About 256 KiB of rows leave together. */
const batchBytes = 256 * 1024;

/** Runs row functions, fused, over batches; the columns stay as hints for names that stay. */
export async function* applyRowWork(
  work: readonly RowWork[],
  stage: string,
  input: AsyncIterable<RowBatch>,
  signal: AbortSignal,
): AsyncGenerator<RowBatch> {
  let batches = input;
  for (const group of groupWork(work)) {
    batches = Array.isArray(group)
      ? applyFunctions(group, stage, batches)
      : applyStream(group, stage, batches, signal);
  }
  yield* batches;
}

/** Neighbouring functions (and chains made of functions) go together; streams stand alone. */
function groupWork(work: readonly RowWork[]): (RowFunction[] | Duplex)[] {
  const groups: (RowFunction[] | Duplex)[] = [];
  for (const item of work) {
    const functions = functionsOf(item);
    const last = groups.at(-1);
    if (!functions) groups.push(item as Duplex);
    else if (Array.isArray(last)) last.push(...functions);
    else groups.push([...functions]);
  }
  return groups;
}

function functionsOf(work: RowWork): readonly RowFunction[] | undefined {
  const chained = work as unknown as Parameters<typeof getFunctionList>[0];
  if (isFunctionList(chained)) return getFunctionList(chained) as RowFunction[];
  return typeof work === "function" ? [work] : undefined;
}

async function* applyFunctions(
  functions: readonly RowFunction[],
  stage: string,
  input: AsyncIterable<RowBatch>,
): AsyncGenerator<RowBatch> {
  const expand = (rows: unknown) => many(rows as Row[]);
  // stream-chain types a chain by its first function; here each link is row to row.
  const run = gen(expand, dropEmpty, ...functions.flatMap((fn) => [fn, dropEmpty])) as (
    rows: readonly Row[],
  ) => AsyncIterable<Row>;
  for await (const batch of input) {
    const rows = toDocuments(batch);
    yield* collect(guardRows(run(rows), stage), batch);
  }
}

const dropEmpty = (row: unknown): unknown => (row === null || row === undefined ? many([]) : row);

async function* guardRows(rows: AsyncIterable<Row>, stage: string): AsyncGenerator<Row> {
  try {
    for await (const row of rows) {
      if (typeof row !== "object" || row === null || Array.isArray(row)) {
        throw new PipelineError(
          "transform-failed",
          `${stage}: the function gave ${Array.isArray(row) ? "an array" : `a ${typeof row}`}; expected a row (an object), null to drop it, or many([…])`,
        );
      }
      yield row;
    }
  } catch (error) {
    throw wrapUserError(error, stage);
  }
}

/** The user's own message may quote a row, so only the error's class and place are told. */
function wrapUserError(error: unknown, stage: string): PipelineError {
  if (error instanceof PipelineError) return error;
  const kind = error instanceof Error ? error.constructor.name : typeof error;
  const place =
    error instanceof Error
      ? /\n\s+at .*?([^/\\(\s]+:\d+:\d+)\)?/.exec(error.stack ?? "")?.[1]
      : undefined;
  return new PipelineError(
    "transform-failed",
    `${stage}: the function threw ${kind}${place ? ` at ${place}` : ""}; its message is kept back because it may quote a row`,
    { cause: error },
  );
}

async function* collect(rows: AsyncIterable<Row>, from: RowBatch): AsyncGenerator<RowBatch> {
  const { columns, end, expects } = from;
  let ready: Row[] = [];
  let bytes = 0;
  const first = expects ? { expects } : {};
  for await (const row of rows) {
    ready.push(row);
    bytes += roughBytes(row);
    if (bytes >= batchBytes) {
      yield { shape: "documents", columns, rows: ready, bytes };
      ready = [];
      bytes = 0;
    }
  }
  if (ready.length > 0 || end || expects) {
    yield { shape: "documents", columns, rows: ready, bytes, ...first, ...(end && { end }) };
  }
}

/** About how much memory a row takes: its texts, and a little for everything else. */
function roughBytes(row: Row): number {
  let bytes = 64;
  for (const value of Object.values(row)) {
    bytes +=
      typeof value === "string" ? value.length + 16 : typeof value === "object" && value ? 256 : 16;
  }
  return bytes;
}

async function* applyStream(
  stream: Duplex,
  stage: string,
  input: AsyncIterable<RowBatch>,
  signal: AbortSignal,
): AsyncGenerator<RowBatch> {
  let last: RowBatch | undefined;
  const rows = Readable.from(
    (async function* () {
      for await (const batch of input) {
        last = batch;
        yield* toDocuments(batch);
      }
    })(),
  );
  const flow = pipeline(rows, stream, { signal, end: true });
  flow.catch(() => {});
  try {
    for await (const batch of collect(guardRows(stream as AsyncIterable<Row>, stage), {
      shape: "documents",
      columns: [],
      rows: [],
      bytes: 0,
    })) {
      yield { ...batch, columns: last?.columns ?? [] };
    }
    await flow;
    if (last?.end)
      yield { shape: "documents", columns: last.columns, rows: [], bytes: 0, end: last.end };
  } finally {
    stream.destroy();
    rows.destroy();
  }
}

const nativeTypes: Record<string, (text: string) => unknown> = {
  int2: Number,
  int4: Number,
  bool: (text) => text === "t",
};

/**
 * Rows as JavaScript sees them: booleans and 2- and 4-byte integers as such, everything else as the source's exact text.
 * @throws PipelineError `transform-failed` when two columns share a name: an object can hold only one.
 */
export function toDocuments(batch: RowBatch): readonly Row[] {
  if (batch.shape === "documents") return batch.rows;
  const { columns } = batch;
  refuseDoubles(columns);
  const convert = columns.map((column) =>
    column.json === "value" ? undefined : nativeTypes[column.type],
  );
  return batch.rows.map((tuple) => {
    const row: Row = Object.create(null) as Row;
    for (let i = 0; i < columns.length; i += 1) {
      const cell = tuple[i];
      const native = convert[i];
      row[columns[i]!.name] = native && typeof cell === "string" ? native(cell) : cell;
    }
    return row;
  });
}

const checked = new WeakSet<readonly Column[]>();

function refuseDoubles(columns: readonly Column[]): void {
  if (checked.has(columns)) return;
  const names = new Set<string>();
  for (const { name } of columns) {
    if (names.has(name)) {
      throw new PipelineError(
        "transform-failed",
        `two columns are named ${JSON.stringify(name)}; give them different names in the query, or drop the row functions`,
      );
    }
    names.add(name);
  }
  checked.add(columns);
}

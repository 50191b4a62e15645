/** What stages do to rows, over batches: neighbouring functions as one (`row-functions.ts`), a stream by itself. */
import { pipeline } from "node:stream/promises";
import { Duplex, Readable, isReadable, isWritable } from "node:stream";
import { framesOf, kindOf, PipelineError } from "../../errors.ts";
import type { Mark, RowBatch } from "../nouns.ts";
import { untilAborted } from "../until-aborted.ts";
import { documentMaker } from "./documents.ts";
import { createPauses } from "./pauses.ts";
import { createBatches, type Batches } from "./row-batches.ts";
import {
  atEnd,
  functionsOf,
  fuseColumns,
  fuseFunctions,
  isThenable,
  type Outputs,
  type RowFunction,
  type StageFunctions,
} from "./row-functions.ts";

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
      ? applyFunctions(group, stage, batches, signal)
      : applyStream(group, stage, batches, signal);
  }
  yield* batches;
}

/** Neighbouring functions (and chains made of functions) go together; streams stand alone. */
function groupWork(work: readonly RowWork[]): (StageFunctions[] | Duplex)[] {
  const groups: (StageFunctions[] | Duplex)[] = [];
  for (const item of work) {
    const functions = functionsOf(item);
    const last = groups.at(-1);
    if (!functions) groups.push(item as Duplex);
    else if (Array.isArray(last)) last.push(functions);
    else groups.push([functions]);
  }
  return groups;
}

async function* applyFunctions(
  stages: readonly StageFunctions[],
  stage: string,
  input: AsyncIterable<RowBatch>,
  signal: AbortSignal,
): AsyncGenerator<RowBatch> {
  const apply = fuseFunctions(stages);
  const columnsAfter = fuseColumns(stages.flat());
  const pauses = createPauses(signal);
  let last: Mark | undefined;
  for await (const batch of input) {
    const out = createBatches({ ...batch, columns: columnsAfter(batch.columns) }, stage);
    try {
      const toDocument = documentMaker(batch);
      let index = 0;
      for (const row of batch.rows) {
        if (pauses.isDue(index)) await pauses.take();
        const outputs = apply(toDocument(row));
        const mark = batch.marks?.[index];
        index += 1;
        if (Array.isArray(outputs)) for (const made of outputs) out.add(made, mark);
        else yield* gather(outputs, { out, mark }, signal);
        if (out.isFull) yield out.take();
        last = mark;
      }
      // What functions hold back (batches, totals) comes out when they are told of the end.
      if (batch.end) yield* gather(apply(atEnd), { out, mark: last }, signal);
    } catch (error) {
      signal.throwIfAborted();
      throw wrapUserError(error, stage);
    }
    if (out.isDue) yield out.takeLast();
  }
}

/** Takes in what one row became; gives batches only where that is more than fits one. */
async function* gather(
  outputs: Outputs,
  { out, mark }: { readonly out: Batches; readonly mark: Mark | undefined },
  signal: AbortSignal,
): AsyncGenerator<RowBatch> {
  if (Symbol.asyncIterator in outputs) {
    for await (const row of abortable(outputs, signal)) {
      out.add(row, mark);
      if (out.isFull) yield out.take();
    }
  } else {
    const made = isThenable(outputs) ? await untilAborted(outputs, signal) : outputs;
    for (const row of made) out.add(row, mark);
  }
}

/** The same items; a generator that hangs is left when the signal fires. */
async function* abortable<T>(items: AsyncIterable<T>, signal: AbortSignal): AsyncGenerator<T> {
  const iterator = items[Symbol.asyncIterator]();
  let ended = false;
  try {
    for (;;) {
      const next = await untilAborted(iterator.next(), signal);
      ended = next.done === true;
      if (next.done) return;
      yield next.value;
    }
  } finally {
    const closed = ended ? undefined : iterator.return?.();
    closed?.catch(() => {});
    if (!signal.aborted) await closed;
  }
}

/**
 * The user's own message may quote a row, so only the error's class and place are told. An abort is no exception:
 * where the run's signal has not fired, it is the work's own.
 */
function wrapUserError(error: unknown, stage: string): unknown {
  if (error instanceof PipelineError) return error;
  const [frame = ""] = error instanceof Error ? framesOf(error) : [];
  const place = /([^/\\(\s]+:\d+:\d+)\)?$/.exec(frame)?.[1];
  return new PipelineError(
    "transform-failed",
    `${stage}: the function threw ${kindOf(error)}${place ? ` at ${place}` : ""}; its message is kept back because it may quote a row`,
    { cause: error },
  );
}

function cannotMark(stage: string): PipelineError {
  return new PipelineError(
    "config-invalid",
    `${stage}: a stream does not tell which row became which, as \`resume: epochs\` must know; expected a function`,
  );
}

async function* applyStream(
  stream: Duplex,
  stage: string,
  input: AsyncIterable<RowBatch>,
  signal: AbortSignal,
): AsyncGenerator<RowBatch> {
  const pauses = createPauses(signal);
  let last: RowBatch | undefined;
  const rows = Readable.from(
    (async function* () {
      for await (const batch of input) {
        last = batch;
        if (batch.marks) throw cannotMark(stage);
        const toDocument = documentMaker(batch);
        for (const [index, row] of batch.rows.entries()) {
          if (pauses.isDue(index)) await pauses.take();
          yield toDocument(row);
        }
      }
    })(),
  );
  const flow = pipeline(rows, stream, { signal, end: true });
  flow.catch(() => {});
  const out = () =>
    createBatches({ shape: "documents", columns: last?.columns ?? [], rows: [], bytes: 0 }, stage);
  try {
    let batches = out();
    for await (const row of stream as AsyncIterable<unknown>) {
      batches.add(row);
      if (!batches.isFull) continue;
      yield batches.take();
      batches = out();
    }
    await flow;
    if (batches.isDue) yield batches.takeLast();
    if (last?.end)
      yield { shape: "documents", columns: last.columns, rows: [], bytes: 0, end: last.end };
  } catch (error) {
    // A stream tells of an abort without its reason.
    signal.throwIfAborted();
    throw wrapUserError(error, stage);
  } finally {
    stream.destroy();
    rows.destroy();
  }
}

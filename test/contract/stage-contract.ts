/**
 * The contract every stage keeps, as mocha tests. A stage's own test file calls `checkStageContract` once and then
 * holds only what is special about that stage:
 *
 *     describe("chunk", () => {
 *       checkStageContract({
 *         stage: chunk,                                  // what `defineStage` gave
 *         config: () => ({ size: "64KiB" }),             // as a user writes it; called inside tests
 *         required: [],                                  // fields that must be there
 *         wrong: { size: "big" },                        // a value per field that must be refused
 *         makeInput: (pieces, ctx) => records(pieces),   // the same data in so many batches; last one has `end`
 *         context: () => ({ pool }),                     // only what the stage needs beyond signal and lease
 *         empty: { input: () => records(0), check: (items) => assert.equal(items.length, 1) },
 *       });
 *     });
 *
 * A source has no `makeInput`; its `config` names the input, and `empty.config` an empty one. Output is compared by
 * what it says, not by how it is cut into batches: see `contentOf`; `contentOf` of your own replaces it.
 * `testContext`, `collect` and `releaseAll` are useful in a stage's own tests too.
 */
import assert from "node:assert/strict";
import { readdirSync } from "node:fs";
import { Writable } from "node:stream";
import { pipeline } from "node:stream/promises";
import { setTimeout as sleep } from "node:timers/promises";
import * as v from "valibot";
import { createLease } from "../../src/stages/lease.ts";
import type { Kind, Kinds, PageIdentity, RecordBatch, RowBatch } from "../../src/stages/nouns.ts";
import { PipelineError } from "../../src/errors.ts";
import type { StageContext, StageDefinition } from "../../src/stages/stage.ts";

type Input<Item> = Iterable<Item> | AsyncIterable<Item>;

/** A stage of any config: `never` in argument position is what lets every stage in. */
type CheckedStage<Takes extends Kind, Gives extends Kind> =
  // oxlint-disable-next-line typescript/no-explicit-any
  StageDefinition<string, any, Takes, Gives>;

export interface StageCheck<Takes extends Kind, Gives extends Kind> {
  readonly stage: CheckedStage<Takes, Gives>;
  readonly config: () => Record<string, unknown>;
  readonly required?: readonly string[];
  readonly wrong?: Readonly<Record<string, unknown>>;
  /** The same data, in order, cut into about `pieces` items; memory of pages is taken from `ctx.lease`. */
  readonly makeInput?: (pieces: number, ctx: StageContext) => Input<Kinds[Takes]>;
  readonly context?: () => Partial<StageContext>;
  readonly contentOf?: (items: readonly Kinds[Gives][]) => unknown;
  /** What no data looks like: checked when given. */
  readonly empty?: {
    readonly config?: () => Record<string, unknown>;
    readonly input?: (ctx: StageContext) => Input<Kinds[Takes]>;
    /** Gets the output, or the error when the stage refuses an empty input. */
    readonly check: (items: readonly Kinds[Gives][], error: unknown) => void;
  };
}

/** Size of the pages a stage is told to expect. */
export const pageBytes = 64 * 1024;
/** Lease of the context a check runs in. */
const leaseBytes = 16 * 2 ** 20;
/** A stage ends this soon after it is told to. */
const endMillis = 1000;
/** How long a consumer is stuck before the stage's hands are counted. */
const stuckMillis = 150;

export interface TestContext extends StageContext {
  readonly controller: AbortController;
  readonly warnings: string[];
}

/** A context with a real lease; pool, spool and destination throw when used but not given. */
export function testContext(parts: Partial<StageContext> = {}): TestContext {
  const controller = new AbortController();
  const warnings: string[] = [];
  const log = { info: () => {}, warn: (message: string) => void warnings.push(message) };
  const context = {
    controller,
    warnings,
    signal: controller.signal,
    lease: createLease(leaseBytes),
    run: { id: "20260101T000000Z-test", pipeline: "test" },
    log,
    caches: [],
  };
  for (const name of ["pool", "spool", "destination", "query"]) {
    Object.defineProperty(context, name, missing(name));
  }
  Object.defineProperties(context, Object.getOwnPropertyDescriptors(parts));
  return context as unknown as TestContext;
}

function missing(name: string): PropertyDescriptor {
  return {
    get: () => assert.fail(`the stage uses \`${name}\`; give one in \`context\``),
    configurable: true,
    enumerable: true,
  };
}

/** Everything the stage gives; pages keep their memory until `releaseAll`. */
export async function collect<T>(items: AsyncIterable<T>): Promise<T[]> {
  const all: T[] = [];
  for await (const item of items) all.push(own(item));
  return all;
}

/** Gives the memory of pages back; anything else has none. */
export function releaseAll(items: readonly unknown[]): void {
  for (const item of items) {
    const { release } = item as { release?: () => void };
    release?.call(item);
  }
}

/** Registers the contract's tests; call inside `describe`. */
export function checkStageContract<Takes extends Kind, Gives extends Kind>(
  check: StageCheck<Takes, Gives>,
): void {
  describe("keeps the stage contract", () => {
    checkConfig(check);
    checkOutput(check);
    describe("whatever ends it", () => checkEnds(check));
  });
}

function checkConfig<T extends Kind, G extends Kind>(check: StageCheck<T, G>): void {
  const { stage, config, required = [], wrong = {} } = check;
  const pathsOf = (input: unknown) => {
    const result = v.safeParse(stage.config, input);
    assert.equal(result.success, false, "the config is accepted");
    return (result.issues ?? []).map((issue) => v.getDotPath(issue));
  };

  it("accepts the config it is checked with", () => {
    assert.deepEqual(v.safeParse(stage.config, config()).issues, undefined);
  });
  it("refuses an unknown key with its path", () => {
    assert.deepEqual(pathsOf({ ...config(), nonsense: 1 }), ["nonsense"]);
  });
  for (const key of required) {
    it(`refuses a config without ${key} with its path`, () => {
      const { [key]: _, ...rest } = config();
      assert.deepEqual(pathsOf(rest), [key]);
    });
  }
  for (const [key, value] of Object.entries(wrong)) {
    it(`refuses a wrong ${key} with its path`, () => {
      const paths = pathsOf({ ...config(), [key]: value });
      assert.ok(
        paths.length > 0 && paths.every((path) => path?.split(".")[0] === key),
        paths.join(),
      );
    });
  }
  it("describes every field and promises a whole number of bytes", () => {
    const { entries = {} } = stage.config as { entries?: Record<string, v.GenericSchema> };
    for (const [key, schema] of Object.entries(entries)) {
      assert.ok(describes(schema), `${key} has no description`);
    }
    const held = stage.holds(v.parse(stage.config, config()), pageBytes, 2);
    assert.ok(Number.isSafeInteger(held) && held >= 0, `holds ${held}`);
  });
}

function describes(schema: v.GenericSchema): boolean {
  return v.getDescription(schema) !== undefined;
}

function checkOutput<T extends Kind, G extends Kind>(check: StageCheck<T, G>): void {
  const { makeInput, empty } = check;
  const contentOf = check.contentOf ?? defaultContent;

  it("gives the same however its input is split, in order, and returns all memory", async () => {
    const contents: unknown[] = [];
    for (const pieces of [1, 2, 7]) {
      const { output, context } = start(check, (ctx) => makeInput?.(pieces, ctx));
      const items = await collect(output);
      requireOrder(items);
      contents.push(contentOf(items));
      releaseAll(items);
      assert.equal(context.lease.inUseBytes, 0, "bytes of the lease are still in use");
    }
    for (const content of contents) assert.deepEqual(content, contents[0]);
  });

  it("takes no more than it promises to hold while its consumer is stuck", async () => {
    const taken = { bytes: 0 };
    const run = start(check, (ctx) => makeInput && count(makeInput(50, ctx), taken));
    const iterator = run.output[Symbol.asyncIterator]();
    const first = await iterator.next();
    const bytesForFirst = taken.bytes;
    await sleep(stuckMillis);
    const ahead = taken.bytes - bytesForFirst;
    const most = run.holds + run.context.lease.inUseBytes;
    assert.ok(ahead <= most, `${ahead} bytes taken ahead, ${most} promised`);
    for (let next = first; !next.done; next = await iterator.next()) {
      if (!makeInput) assert.ok(sizeOf(next.value) <= run.holds, "a batch larger than promised");
      releaseAll([next.value]);
    }
    assert.equal(run.context.lease.inUseBytes, 0, "bytes of the lease are still in use");
  });

  if (!empty) return;
  it("meets an empty input as its header says", async () => {
    const config = empty.config ?? check.config;
    const { output, context } = start({ ...check, config }, (ctx) => empty.input?.(ctx));
    const outcome = await collect(output).then(
      (items) => ({ items, error: undefined }),
      (error: unknown) => ({ items: [], error }),
    );
    empty.check(outcome.items, outcome.error);
    releaseAll(outcome.items);
    assert.equal(context.lease.inUseBytes, 0, "bytes of the lease are still in use");
  });
}

function checkEnds<T extends Kind, G extends Kind>(check: StageCheck<T, G>): void {
  const { makeInput } = check;
  const seven = (ctx: StageContext) => makeInput?.(7, ctx);
  let warm = false;
  // What is loaded lazily is loaded by a first run, so that the next ones can be compared with it.
  beforeEach(async () => {
    if (!warm) releaseAll(await collect(start(check, seven).output));
    warm = true;
  });

  it("closes everything when its consumer stops early", async () => {
    await leavesNothingBehind(async () => {
      const { output, context } = start(check, seven);
      for await (const item of output) {
        releaseAll([item]);
        break;
      }
      return context;
    });
  });

  it("closes everything when its consumer fails", async () => {
    const failure = new Error("the consumer fails");
    const failing = () =>
      new Writable({
        objectMode: true,
        highWaterMark: 1,
        write(item, _encoding, done) {
          releaseAll([item]);
          done(failure);
        },
      });
    await leavesNothingBehind(async () => {
      const { output, context } = start(check, seven);
      // As the runner does it: pages that wait in front of a failed consumer are the runner's to release.
      const watched = watchPages(output);
      await assert.rejects(pipeline(watched.items, failing()), failure);
      watched.release();
      return context;
    });
  });

  it("ends within a second of an abort, with its reason, and closes everything", async () => {
    const reason = new Error("the run is stopped");
    await leavesNothingBehind(async () => {
      const halted = (ctx: StageContext) => makeInput && haltAfterFirst(makeInput(7, ctx), ctx);
      const { output, context } = start(check, halted);
      const ended = drain(output);
      await within(ended, makeInput ? stuckMillis : 0);
      context.controller.abort(reason);
      const error = await within(ended, endMillis);
      if (error !== reason) assert.ok(error instanceof PipelineError, `ended: ${String(error)}`);
      return context;
    });
  });

  if (!makeInput) return;
  it("passes a failing neighbour's error on and closes everything", async () => {
    const failure = new PipelineError("source-failed", "the stage before fails");
    await leavesNothingBehind(async () => {
      const { output, context } = start(check, (ctx) => failAfterFirst(makeInput(7, ctx), failure));
      assert.equal(await drain(output), failure);
      return context;
    });
  });
}

function start<T extends Kind, G extends Kind>(
  { stage, config, context }: StageCheck<T, G>,
  makeInput: (ctx: StageContext) => Input<Kinds[T]> | undefined,
) {
  const ctx = testContext(context?.());
  const parsed: unknown = v.parse(stage.config, config());
  const output = stage.open(parsed, ctx, iterate(makeInput(ctx) ?? []));
  return { output, context: ctx, holds: stage.holds(parsed, pageBytes, 2) };
}

async function* iterate<Item>(items: Input<Item>): AsyncGenerator<Item> {
  yield* items;
}

/** Counts what is taken; items come slowly, so that a stage that takes them ahead is caught at it. */
async function* count<Item>(items: Input<Item>, taken: { bytes: number }): AsyncGenerator<Item> {
  for await (const item of items) {
    await sleep(4);
    taken.bytes += sizeOf(item);
    yield item;
  }
}

/** Gives one item and then nothing until the run is stopped, like a stage that waits for a slow server. */
async function* haltAfterFirst<Item>(items: Input<Item>, { signal }: StageContext) {
  for await (const item of items) {
    yield item;
    break;
  }
  await new Promise((_resolve, reject) => {
    if (signal.aborted) reject(signal.reason as Error);
    signal.addEventListener("abort", () => reject(signal.reason as Error));
  });
}

async function* failAfterFirst<Item>(items: Input<Item>, failure: Error): AsyncGenerator<Item> {
  for await (const item of items) {
    yield item;
    throw failure;
  }
}

/** Takes everything; resolves with the error that ended it, undefined when there was none. */
async function drain(items: AsyncIterable<unknown>): Promise<unknown> {
  try {
    for await (const item of items) releaseAll([item]);
    return undefined;
  } catch (error) {
    return error;
  }
}

/** What `promise` resolves with; after `millis` only a text that says so. */
async function within(promise: Promise<unknown>, millis: number): Promise<unknown> {
  const timer = new AbortController();
  const late = sleep(millis, "it still runs", timer).catch(() => undefined);
  try {
    return await Promise.race([promise, late]);
  } finally {
    timer.abort();
  }
}

/** Remembers pages that were given but did not reach the consumer. */
function watchPages<Item>(items: AsyncIterable<Item>) {
  const waiting = new Set<object>();
  async function* pass() {
    for await (const item of items) {
      const page = item as { release?: () => void };
      const { release } = page;
      if (release) {
        waiting.add(page);
        page.release = () => {
          waiting.delete(page);
          release.call(page);
        };
      }
      yield item;
    }
  }
  return { items: pass(), release: () => releaseAll([...waiting]) };
}

/** Runs `use` and requires that no descriptor, timer, socket or byte of the lease is left of it a second later. */
async function leavesNothingBehind(use: () => Promise<TestContext>): Promise<void> {
  // The test runner sets its own timer for this test only after the test has begun.
  await sleep(1);
  const earlier = countOpen();
  const { lease } = await use();
  const deadline = performance.now() + endMillis;
  let left = "";
  do {
    await sleep(5);
    const now = countOpen();
    left = [...now].filter(([what, many]) => many > (earlier.get(what) ?? 0)).join(" ");
    if (lease.inUseBytes > 0) left += ` ${lease.inUseBytes} bytes of the lease`;
  } while (left !== "" && performance.now() < deadline);
  assert.equal(left, "", "left behind");
}

function countOpen(): Map<string, number> {
  const open = new Map<string, number>();
  for (const what of process.getActiveResourcesInfo()) open.set(what, (open.get(what) ?? 0) + 1);
  if (process.platform === "linux") open.set("descriptors", readdirSync("/proc/self/fd").length);
  return open;
}

/** Items as they were when they came: record batches are valid only until the next is asked for. */
function own<Item>(item: Item): Item {
  const { ends } = item as { ends?: ArrayLike<number> };
  if (ends === undefined) return item;
  const { bytes } = item as unknown as RecordBatch;
  return { ...item, bytes: bytes.slice(), ends: Array.from(ends) };
}

function sizeOf(item: unknown): number {
  const { bytes, content } = item as { bytes?: number | Uint8Array; content?: Uint8Array };
  return content?.length ?? (typeof bytes === "number" ? bytes : (bytes?.length ?? 0));
}

/** Pages and what becomes of them are numbered from 0 without a gap, and `end` comes last. */
function requireOrder(items: readonly unknown[]): void {
  for (const [index, item] of items.entries()) {
    const { page, end } = item as { page?: number; end?: unknown };
    if (page !== undefined) assert.equal(page, index, "out of order");
    if (end !== undefined) assert.equal(index, items.length - 1, "something comes after the end");
  }
}

/** What items say, apart from how they are cut: rows, records, or the identity of pages. */
function defaultContent(items: readonly unknown[]): unknown {
  const end = items.map((item) => (item as { end?: unknown }).end).find((end) => end !== undefined);
  if (items.some((item) => "rows" in (item as object))) {
    return { end, rows: (items as RowBatch[]).flatMap(({ rows }) => rows as unknown[]) };
  }
  if (items.some((item) => "ends" in (item as object))) {
    const batches = items as RecordBatch[];
    const bytes = Buffer.concat(batches.map((batch) => batch.bytes)).toString("latin1");
    return { end, bytes, records: batches.map(recordLengths).flat() };
  }
  return items.map((item) => {
    const { page, records, total, span, bytes, chain, final } = item as PageIdentity;
    return { page, records, total, span, bytes, chain, final };
  });
}

function recordLengths({ ends, framing }: RecordBatch): number[] {
  if (framing) return [];
  return Array.from(ends, (end, index) => end - (index === 0 ? 0 : (ends[index - 1] ?? 0)));
}

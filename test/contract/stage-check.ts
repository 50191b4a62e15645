/** What the contract of stages is checked with: a stage and its inputs, a context to open it in, and what it gives. */
import assert from "node:assert/strict";
import * as v from "valibot";
import { createLease } from "../../src/stages/lease.ts";
import type { Kind, Kinds, RecordBatch } from "../../src/stages/nouns.ts";
import type { StageContext, StageDefinition } from "../../src/stages/stage.ts";

export type Input<Item> = Iterable<Item> | AsyncIterable<Item>;

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
/** How long a consumer is stuck before the stage's hands are counted. */
export const stuckMillis = 150;

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

/** Opens the stage over its input, in a context of its own. */
export function start<T extends Kind, G extends Kind>(
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

/** Items as they were when they came: record batches are valid only until the next is asked for. */
function own<Item>(item: Item): Item {
  const { ends } = item as { ends?: ArrayLike<number> };
  if (ends === undefined) return item;
  const { bytes } = item as unknown as RecordBatch;
  return { ...item, bytes: bytes.slice(), ends: Array.from(ends) };
}

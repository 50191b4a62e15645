/** What a stage gives: the same however its input is split, in order, and never more ahead than it promises. */
import assert from "node:assert/strict";
import { setTimeout as sleep } from "node:timers/promises";
import type { Kind, PageIdentity, RecordBatch, RowBatch } from "../../src/stages/nouns.ts";
import {
  type Input,
  type StageCheck,
  collect,
  releaseAll,
  start,
  stuckMillis,
} from "./stage-check.ts";

export function checkOutput<T extends Kind, G extends Kind>(check: StageCheck<T, G>): void {
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

/** Counts what is taken; items come slowly, so that a stage that takes them ahead is caught at it. */
async function* count<Item>(items: Input<Item>, taken: { bytes: number }): AsyncGenerator<Item> {
  for await (const item of items) {
    await sleep(4);
    taken.bytes += sizeOf(item);
    yield item;
  }
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

/**
 * what    makes sealed pages durable on local disk, several at a time, ahead of a slow destination up to a cap
 * takes   sealed · gives durable (first those an earlier attempt left)
 * holds   its buffer, where sealed pages gather: one that does not compress and 512 KiB; a page gives its own memory back
 *         when it lies there; durable ones that wait are a count
 * order   kept
 * ends    with its input, after a flush of what is gathered; so it does when the input fails
 * fails   spool-full, disk-full (past `fullTimeout`; resumable) · spool-failed (the disk refused) · integrity-failed
 */
import * as v from "valibot";
import { duration, size, text } from "../atoms.ts";
import type { SealedPage } from "../nouns.ts";
import { defineStage } from "../stage.ts";
import { sealedMost } from "./chunk.ts";
import { bufferBytes } from "./spool-flush.ts";
import type { Spool } from "./spool-store.ts";

export const spool = defineStage({
  name: "spool",
  summary:
    "Makes sealed pages durable in a local folder, from which uploads are served, also after a crash.",
  config: v.strictObject({
    dir: v.pipe(
      v.optional(text, "./spool"),
      v.description(
        "folder of the spool, relative to the pipeline's file (in code, to where it runs); made with mode 0700",
      ),
    ),
    maxBytes: v.pipe(
      v.optional(size, "10GiB"),
      v.description(
        "most bytes of pages that wait here for the destination; a page alone always may",
      ),
      v.metadata({ unit: "bytes" }),
    ),
    fullTimeout: v.pipe(
      v.optional(duration, "5m"),
      v.description(
        "how long to wait for room in the spool or on the disk before the run stops, resumable (exit 75)",
      ),
      v.metadata({ unit: "milliseconds" }),
    ),
  }),
  shorthand: "dir",
  takes: "sealed",
  gives: "durable",
  holds: (_config, pageBytes) => bufferBytes(sealedMost(pageBytes)),
  async *open(_config, ctx, input) {
    const queue = createQueue();
    const over = new AbortController();
    void storeAll(input, queue, ctx.spool, AbortSignal.any([ctx.signal, over.signal]));
    try {
      yield* ctx.spool.backlog();
      for await (const page of queue.drain()) yield await ctx.spool.page(page);
    } finally {
      // Ends a wait for room. A silent source ends with the run's signal; it is not waited for here.
      over.abort();
    }
  },
});

/** Runs ahead of the stage after it; the spool's cap is what bounds it. */
async function storeAll(
  input: AsyncIterable<SealedPage>,
  queue: Queue,
  spool: Spool,
  signal: AbortSignal,
): Promise<void> {
  try {
    for await (const page of input) {
      try {
        signal.throwIfAborted();
        const { taken, durable } = spool.store(page, signal);
        durable.then(({ page }) => queue.push(page), queue.fail);
        await taken;
      } finally {
        page.release();
      }
    }
    await spool.flush();
    queue.end();
  } catch (error) {
    await spool.flush();
    queue.fail(error);
  }
}

interface Queue {
  push(page: number): void;
  end(): void;
  fail(error: unknown): void;
  drain(): AsyncGenerator<number>;
}

/** Numbers of durable pages on their way to the upload, which have no gap: two are enough for any number of pages. */
function createQueue(): Queue {
  let next: number | undefined;
  let end = 0;
  let outcome: { error?: unknown } | undefined;
  let wake = () => {};
  return {
    push(page) {
      next ??= page;
      end = page + 1;
      wake();
    },
    end() {
      outcome ??= {};
      wake();
    },
    fail(error) {
      outcome ??= { error };
      wake();
    },
    async *drain() {
      for (;;) {
        for (; next !== undefined && next < end; next += 1) yield next;
        if (outcome) {
          if ("error" in outcome) throw outcome.error;
          return;
        }
        await new Promise<void>((resolve) => (wake = resolve));
      }
    },
  };
}

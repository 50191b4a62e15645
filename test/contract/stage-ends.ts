/** How a stage ends: whatever ends it, nothing is left behind. */
import assert from "node:assert/strict";
import { readdirSync } from "node:fs";
import { Writable } from "node:stream";
import { pipeline } from "node:stream/promises";
import { setTimeout as sleep } from "node:timers/promises";
import type { Kind } from "../../src/stages/nouns.ts";
import { PipelineError } from "../../src/errors.ts";
import type { StageContext } from "../../src/stages/stage.ts";
import {
  type Input,
  type StageCheck,
  type TestContext,
  collect,
  releaseAll,
  start,
  stuckMillis,
} from "./stage-check.ts";

/** A stage ends this soon after it is told to. */
const endMillis = 1000;
export function checkEnds<T extends Kind, G extends Kind>(check: StageCheck<T, G>): void {
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

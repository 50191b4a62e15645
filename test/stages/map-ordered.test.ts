import assert from "node:assert/strict";
import { setTimeout as sleep } from "node:timers/promises";
import * as fc from "fast-check";
import { mapOrdered } from "../../src/stages/map-ordered.ts";

const { signal } = new AbortController();

async function* upTo(count: number, state: { pulled: number; closed: boolean }) {
  try {
    for (let i = 0; i < count; i += 1) {
      state.pulled += 1;
      yield i;
    }
  } finally {
    state.closed = true;
  }
}

const fresh = () => ({ pulled: 0, closed: false });

async function drain<T>(items: AsyncIterable<T>): Promise<T[]> {
  const all: T[] = [];
  for await (const item of items) all.push(item);
  return all;
}

/** Turns of the microtask and timer queues, so that what is not waited for has ended. */
const settle = () => sleep(5);

describe("map-ordered", () => {
  it("gives results in the order of the items, whatever finishes first", async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.array(fc.integer({ min: 0, max: 3 }), { maxLength: 20 }),
        fc.integer({ min: 1, max: 6 }),
        async (delays, width) => {
          const work = async (i: number) => {
            await sleep(delays[i]);
            return i;
          };
          const input = upTo(delays.length, fresh());
          const results = await drain(mapOrdered(input, { width, signal }, work));
          assert.deepEqual(results, [...delays.keys()]);
        },
      ),
      { numRuns: 25 },
    );
  });

  it("works on no more items than the window is wide", async () => {
    let now = 0;
    let most = 0;
    const work = async (i: number) => {
      now += 1;
      most = Math.max(most, now);
      await sleep(2);
      now -= 1;
      return i;
    };
    await drain(mapOrdered(upTo(20, fresh()), { width: 3, signal }, work));
    assert.equal(most, 3);
  });

  it("pulls nothing ahead of its window while the consumer is stuck", async () => {
    const state = fresh();
    const items = mapOrdered(upTo(100, state), { width: 4, signal }, async (i) => i);
    await items.next();
    await settle();
    assert.ok(state.pulled <= 5, `${state.pulled} pulled`);
    await items.return(undefined);
    assert.ok(state.closed);
  });

  it("gives a finished head on while the input is silent", async () => {
    const silence = Promise.withResolvers<void>();
    async function* input() {
      yield 1;
      await silence.promise;
    }
    const items = mapOrdered(input(), { width: 4, signal }, async (i) => i);
    assert.deepEqual(await items.next(), { done: false, value: 1 });
    silence.resolve();
    assert.equal((await items.next()).done, true);
  });

  it("passes a failure of the input on, after nothing but what came before", async () => {
    const failure = new Error("the input fails");
    async function* input() {
      yield 1;
      yield 2;
      throw failure;
    }
    const seen: number[] = [];
    await assert.rejects(async () => {
      for await (const i of mapOrdered(input(), { width: 1, signal }, async (i) => i)) seen.push(i);
    }, failure);
    assert.deepEqual(seen, [1, 2]);
  });

  it("closes the input, discards finished work and tells the failure when work fails", async () => {
    const state = fresh();
    const failure = new Error("the work fails");
    const discarded: number[] = [];
    const discard = (i: number) => void discarded.push(i);
    const work = async (i: number) => {
      if (i > 0) return i;
      await sleep(5);
      throw failure;
    };
    await assert.rejects(
      drain(mapOrdered(upTo(9, state), { width: 3, signal, discard }, work)),
      failure,
    );
    assert.deepEqual(discarded, [1, 2]);
    assert.ok(state.closed);
  });

  it("tells work in flight that it is wanted no more, so that a failure waits for nothing", async () => {
    const failure = new Error("the first fails");
    const work = async (i: number, wanted: AbortSignal) => {
      await sleep(i === 0 ? 5 : 60_000, undefined, { signal: wanted });
      throw failure;
    };
    const started = performance.now();
    await assert.rejects(drain(mapOrdered(upTo(9, fresh()), { width: 3, signal }, work)), failure);
    assert.ok(performance.now() - started < 1000);
  });

  it("discards an item that comes after an early return, and then closes the input", async () => {
    const silence = Promise.withResolvers<void>();
    const state = fresh();
    async function* input() {
      try {
        yield 1;
        await silence.promise;
        yield 2;
      } finally {
        state.closed = true;
      }
    }
    const discarded: number[] = [];
    const discard = (i: number) => void discarded.push(i);
    const items = mapOrdered(input(), { width: 2, signal, discard }, async (i) => i);
    await items.next();
    await items.return(undefined);
    assert.equal(state.closed, false, "the input was asked and has not answered");
    silence.resolve();
    await settle();
    assert.deepEqual(discarded, [2]);
    assert.ok(state.closed);
  });

  it("leaves no unhandled rejection when several fail, or the input fails too late", async () => {
    const unhandled: unknown[] = [];
    const note = (reason: unknown) => void unhandled.push(reason);
    process.on("unhandledRejection", note);
    try {
      async function* input() {
        yield 1;
        yield 2;
        await sleep(3);
        throw new Error("too late");
      }
      const work = async (): Promise<never> => {
        throw new Error("each fails");
      };
      await assert.rejects(drain(mapOrdered(input(), { width: 3, signal }, work)), /each fails/);
      await sleep(20);
      assert.deepEqual(unhandled, []);
    } finally {
      process.off("unhandledRejection", note);
    }
  });
});

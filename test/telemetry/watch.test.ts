import assert from "node:assert/strict";
import { createLease } from "../../src/stages/lease.ts";
import type { Kind } from "../../src/stages/nouns.ts";
import { startTelemetry } from "../../src/telemetry/sdk.ts";
import { watchRun, type RunWatch } from "../../src/telemetry/watch.ts";
import { rowsAPage, runSynthetic } from "./synthetic-run.ts";
import { stopTime, type StoppedTime } from "./stopped-time.ts";

async function quietWatch(): Promise<RunWatch> {
  const telemetry = await startTelemetry(undefined, {});
  return watchRun({ telemetry, pipeline: "test", runId: "run-1" });
}

const rows = { name: "stage", takes: "rows" as Kind, gives: "rows" as Kind };
const batch = (count: number) => ({ rows: Array.from({ length: count }), bytes: count * 10 });

async function* give(...items: unknown[]): AsyncGenerator {
  yield* items;
}

/** An input that tells what was done to it. */
function spyInput(count: number) {
  const seen: string[] = [];
  let left = count;
  const iterator: AsyncIterator<unknown> = {
    next: async () => {
      seen.push("next");
      left -= 1;
      return left < 0 ? { done: true, value: undefined } : { done: false, value: batch(1) };
    },
    return: async (value?: unknown) => {
      seen.push("return");
      return { done: true, value };
    },
  };
  return { seen, [Symbol.asyncIterator]: () => iterator };
}

describe("a watched stage", () => {
  it("gives the very items it would give unwatched", async () => {
    const watch = await quietWatch();
    const items = [batch(1), batch(2), batch(3)];
    const got: unknown[] = [];
    for await (const item of watch.wrap(rows, give(...items), (input) => input)) got.push(item);
    assert.equal(got.length, 3);
    for (const [index, item] of got.entries()) assert.equal(item, items[index]);
  });

  it("is opened at the first iteration, once, and pulls only when it is pulled", async () => {
    const watch = await quietWatch();
    const input = spyInput(3);
    let opens = 0;
    const output = watch.wrap(rows, input, (input) => {
      opens += 1;
      return input;
    });
    assert.equal(opens, 0);
    const iterator = output[Symbol.asyncIterator]();
    assert.equal(opens, 1);
    assert.deepEqual(input.seen, []);
    await iterator.next();
    assert.deepEqual(input.seen, ["next"]);
  });

  it("passes an early end to the stage and through it to its input", async () => {
    const watch = await quietWatch();
    const input = spyInput(10);
    let cleaned = false;
    const output = watch.wrap(rows, input, async function* (input) {
      try {
        yield* input;
      } finally {
        cleaned = true;
      }
    });
    for await (const item of output) {
      assert.ok(item);
      break;
    }
    assert.deepEqual([cleaned, input.seen], [true, ["next", "return"]]);
  });

  it("passes errors through as they are, from the stage and from its input", async () => {
    const watch = await quietWatch();
    const own = new Error("of the stage");
    const fails = watch.wrap(rows, give(), async function* () {
      yield batch(1);
      throw own;
    });
    await assert.rejects(drain(fails), (error) => error === own);
    const before = new Error("of the stage before");
    const input = (async function* () {
      yield batch(1);
      throw before;
    })();
    await assert.rejects(
      drain(watch.wrap(rows, input, (input) => input)),
      (error) => error === before,
    );
  });

  it("passes `throw` to a generator and the value of `return` back", async () => {
    const watch = await quietWatch();
    const caught: unknown[] = [];
    const open = async function* () {
      try {
        yield batch(1);
      } catch (error) {
        caught.push(error);
        yield batch(2);
      }
    };
    const iterator = watch.wrap(rows, give(), open)[Symbol.asyncIterator]();
    await iterator.next();
    const problem = new Error("from outside");
    assert.deepEqual((await iterator.throw?.(problem))?.value, batch(2));
    assert.deepEqual(caught, [problem]);
    assert.deepEqual(await iterator.return?.("value"), { done: true, value: "value" });
  });

  it("has no `return` where the stage's iterator has none", async () => {
    const watch = await quietWatch();
    const bare = {
      [Symbol.asyncIterator]: () => ({ next: async () => ({ done: true as const, value: 0 }) }),
    };
    const iterator = watch.wrap(rows, give(), () => bare)[Symbol.asyncIterator]();
    assert.equal("return" in iterator, false);
    assert.deepEqual(await iterator.next(), { done: true, value: 0 });
  });

  it("costs a few microseconds an item", async () => {
    const watch = await quietWatch();
    const items = 100_000;
    const item = batch(1);
    const many = async function* () {
      for (let index = 0; index < items; index += 1) yield item;
    };
    const plainMicros = await workOf(() => drain(many()));
    const watchedMicros = await workOf(() => drain(watch.wrap(rows, many(), (input) => input)));
    const extraMicros = (watchedMicros - plainMicros) / items;
    assert.ok(extraMicros < 20, `${extraMicros.toFixed(2)} µs an item`);
  });
});

describe("the time of a stage", () => {
  const workMillis = 20;
  let time: StoppedTime;
  beforeEach(() => (time = stopTime()));
  afterEach(() => time.resume());

  it("is starved behind a slow source, busy in slow work and blocked before a slow reader", async () => {
    const watch = await quietWatch();
    const output = watch.wrap(rows, slowly(10, 2 * workMillis, time), async function* (input) {
      for await (const item of input) {
        await time.sleep(workMillis);
        yield item;
      }
    });
    const read = async () => {
      for await (const item of output) {
        assert.ok(item);
        await time.sleep(3 * workMillis);
      }
    };
    await time.during(read());
    const [stage] = watch.stats();
    assert.ok(stage);
    equal(stage.starvedSeconds, 0.4);
    equal(stage.busySeconds, 0.2);
    equal(stage.blockedSeconds, 0.6);
  });

  it("is busy in a window whose workers have the pages, though it waits for more", async () => {
    const watch = await quietWatch();
    const info = { name: "seal", takes: "pages" as Kind, gives: "sealed" as Kind };
    const output = watch.wrap(info, pages(10), (input) =>
      windowed(input, 2, () => time.sleep(2 * workMillis)),
    );
    await time.during(drain(output));
    const [stage] = watch.stats();
    assert.ok(stage);
    equal(stage.busySeconds, (10 * 2 * workMillis) / 2 / 1000);
    equal(stage.starvedSeconds, 0);
    assert.equal(stage.peakHeldBytes, 2 * 1000);
    assert.equal(watch.bottleneck(), "seal");
  });

  it("of `chunk` is blocked while later stages hold all page memory", async () => {
    const watch = await quietWatch();
    const lease = createLease(4096);
    const watched = watch.watchLease(lease);
    const signal = AbortSignal.timeout(5000);
    const output = watch.wrap({ name: "chunk", takes: "records", gives: "pages" }, give(), () =>
      (async function* () {
        yield page(0);
        await watched.take(4096, 4096, signal);
        yield page(1);
      })(),
    );
    const hold = await lease.take(4096, 4096, signal);
    void time.sleep(200).then(() => hold.release());
    await time.during(drain(output));
    const [stage] = watch.stats();
    assert.ok(stage);
    equal(stage.blockedSeconds, 0.2);
    equal(stage.busySeconds, 0);
    assert.equal(watched.inUseBytes, 4096);
    assert.equal(watched.peakBytes, 4096);
    assert.deepEqual([watched.capacityBytes, watched.waiting], [4096, 0]);
  });
});

describe("the numbers of a run", () => {
  it("count rows, bytes and pages where they pass, with telemetry off", async () => {
    const watch = await quietWatch();
    const time = stopTime();
    await time.during(runSynthetic(watch, { pages: 5, sleep: time.sleep })).finally(time.resume);
    assert.deepEqual(watch.counters(), {
      rows: 5 * rowsAPage,
      pages: 5,
      bytesIn: 5 * 1000,
      bytesOut: 5 * 500,
      pagesUploaded: 5,
    });
    const stats = watch.stats();
    assert.deepEqual(
      stats.map(({ name, rows, bytes, peakHeldBytes }) => [name, rows, bytes, peakHeldBytes]),
      [
        ["postgres", 50, 10_000, 2000],
        ["serialize", 50, 5000, 3000],
        ["chunk", 50, 5000, 2000],
        ["seal", 50, 2500, 1000],
        ["spool", 50, 2500, 500],
        ["upload", 50, 2500, 500],
      ],
    );
    assert.equal(watch.bottleneck(), "seal");
    assert.equal(watch.fattest(), "serialize");
    assert.deepEqual([watch.traceId, watch.traceparent], [null, null]);
    watch.end();
  });

  it("count framing as bytes but as no record", async () => {
    const watch = await quietWatch();
    const header = { bytes: new Uint8Array(7), ends: [7], framing: true };
    const lines = { bytes: new Uint8Array(20), ends: [10, 20], framing: false };
    const info = { name: "serialize", takes: "rows" as Kind, gives: "records" as Kind };
    await drain(watch.wrap(info, give(), () => give(header, lines)));
    assert.deepEqual([watch.counters().rows, watch.counters().bytesIn], [2, 27]);
  });

  it("do not pile up when pages are dropped on the way", async () => {
    const watch = await quietWatch();
    const info = { name: "seal", takes: "pages" as Kind, gives: "sealed" as Kind };
    await drain(watch.wrap(info, pages(100), keepEveryTenth));
    assert.equal(watch.stats()[0]?.peakHeldBytes, 10 * 1000);
  });

  it("count what a spool has in hand, not what waits on its disk", async () => {
    const watch = await quietWatch();
    const info = { name: "spool", takes: "sealed" as Kind, gives: "durable" as Kind };
    await drain(
      watch.wrap(info, pages(100), async function* (input) {
        yield* await Array.fromAsync(input);
      }),
    );
    assert.equal(watch.stats()[0]?.peakHeldBytes, 1000);
  });

  it("name no bottleneck before anything has worked", async () => {
    const watch = await quietWatch();
    assert.deepEqual([watch.bottleneck(), watch.fattest(), watch.stats()], [null, null, []]);
  });
});

const page = (number: number) => ({
  page: number,
  records: 1,
  content: new Uint8Array(1000),
  sealedBytes: 1000,
});

async function* slowly(count: number, millis: number, { sleep }: StoppedTime): AsyncGenerator {
  for (let index = 0; index < count; index += 1) {
    await sleep(millis);
    yield batch(1);
  }
}

async function* keepEveryTenth(input: AsyncIterable<unknown>): AsyncGenerator {
  let number = 0;
  for await (const item of input) {
    number += 1;
    if (number % 10 === 0) yield item;
  }
}

async function* pages(count: number): AsyncGenerator {
  for (let number = 0; number < count; number += 1) yield page(number);
}

/** Keeps `width` items in work and gives them on in order. */
async function* windowed(input: AsyncIterable<unknown>, width: number, work: () => Promise<void>) {
  const underWay: Promise<unknown>[] = [];
  for await (const item of input) {
    underWay.push(work().then(() => item));
    if (underWay.length === width) yield await underWay.shift();
  }
  while (underWay.length > 0) yield await underWay.shift();
}

async function drain(items: AsyncIterable<unknown>): Promise<void> {
  for await (const item of items) void item;
}

/** What a work costs this thread, in microseconds; waiting for a processor costs nothing. */
async function workOf(work: () => Promise<void>): Promise<number> {
  const before = process.threadCpuUsage();
  await work();
  const { user, system } = process.threadCpuUsage(before);
  return user + system;
}

/** But for what numbers with a point lose. */
function equal(seconds: number, expected: number): void {
  assert.equal(seconds.toFixed(6), expected.toFixed(6));
}

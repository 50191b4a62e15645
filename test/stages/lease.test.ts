import assert from "node:assert/strict";
import { setImmediate as turn } from "node:timers/promises";
import * as fc from "fast-check";
import { PipelineError } from "../../src/errors.ts";
import { atEase } from "../../src/stages/pressure.ts";
import { createLease, type Lease, type Leased } from "../../src/stages/lease.ts";

const never = new AbortController().signal;

/** Asks for `weight` bytes and tells when they were granted. */
function ask(lease: Lease, weight: number, granted: number[] = [], signal = never) {
  const leased = lease.take(8, weight, signal).then((given) => {
    granted.push(weight);
    return given;
  });
  leased.catch(() => {});
  return leased;
}

describe("lease", () => {
  it("lends a share of its capacity under pressure, two pages at least, and all of it again later", async () => {
    const pressure = { ...atEase, share: 1 };
    const lease = createLease(100, pressure);
    const granted: number[] = [];
    const lent = [await ask(lease, 10, granted), await ask(lease, 10, granted)];
    pressure.share = 0.25;
    const third = ask(lease, 10, granted);
    await turn();
    assert.deepEqual([granted.length, lease.waiting], [2, 1], "25 bytes hold two of 10");
    lent.pop()?.release();
    await third;
    const wide = ask(lease, 40, granted);
    lent.pop()?.release();
    await wide;
    assert.equal(lease.inUseBytes, 50, "two pages of 40 would be lent, whatever the share");
    const last = ask(lease, 20, granted);
    await turn();
    assert.equal(lease.waiting, 1);
    pressure.share = 1;
    (await third).release();
    await last;
    assert.deepEqual([lease.inUseBytes, lease.peakBytes], [60, 60]);
  });

  it("lends at once while there is room, and counts weights, not sizes", async () => {
    const lease = createLease(100);
    const a = await lease.take(10, 60, never);
    assert.equal(a.bytes.length, 10);
    assert.ok(a.bytes.buffer instanceof SharedArrayBuffer);
    assert.equal(lease.inUseBytes, 60);
    const b = await lease.take(10, 40, never);
    assert.deepEqual([lease.inUseBytes, lease.peakBytes, lease.waiting], [100, 100, 0]);
    a.release();
    b.release();
    assert.deepEqual([lease.inUseBytes, lease.peakBytes], [0, 100]);
  });

  it("serves who came first, even where a later one would fit", async () => {
    const lease = createLease(100);
    const first = await lease.take(8, 80, never);
    const granted: number[] = [];
    const big = ask(lease, 90, granted);
    const small = ask(lease, 10, granted);
    await turn();
    assert.deepEqual(granted, [], "the small one does not overtake the big one");
    assert.equal(lease.waiting, 2);
    first.release();
    (await big).release();
    (await small).release();
    assert.deepEqual(granted, [90, 10]);
  });

  it("lends the same memory again", async () => {
    const lease = createLease(100);
    const first = await lease.take(16, 50, never);
    first.release();
    const second = await lease.take(16, 50, never);
    assert.equal(second.bytes.buffer, first.bytes.buffer);
    second.release();
  });

  it("forgets a waiter whose signal fires, with its reason, and serves the next", async () => {
    const lease = createLease(100);
    const held = await lease.take(8, 50, never);
    const stop = new AbortController();
    const big = ask(lease, 90, [], stop.signal);
    const small = ask(lease, 50);
    await turn();
    const reason = new Error("the run is stopped");
    stop.abort(reason);
    await assert.rejects(big, reason);
    (await small).release();
    held.release();
    assert.deepEqual([lease.inUseBytes, lease.waiting], [0, 0]);
  });

  it("refuses at once when the signal has fired already", async () => {
    const lease = createLease(100);
    await assert.rejects(lease.take(8, 50, AbortSignal.abort(new Error("stopped"))), /stopped/);
    assert.equal(lease.inUseBytes, 0);
  });

  it("refuses what can never fit, naming the knobs", async () => {
    await assert.rejects(createLease(100).take(8, 101, never), (error: unknown) => {
      assert.ok(error instanceof PipelineError);
      assert.equal(error.code, "budget-too-small");
      assert.match(error.message, /101 bytes.*`memory`.*`chunk\.size`/);
      return true;
    });
  });

  it("counts nothing for memory that could not be had", async () => {
    const lease = createLease(100);
    await assert.rejects(lease.take(2 ** 53, 100, never), RangeError);
    assert.equal(lease.inUseBytes, 0);
    (await lease.take(8, 100, never)).release();
  });

  it("asserts that page memory is released once", async () => {
    const leased = await createLease(100).take(8, 50, never);
    leased.release();
    assert.throws(() => leased.release(), /assertion failed: page memory is released once/);
  });

  it("never lends more than it has, starves nobody and ends empty", async () => {
    const weights = fc.array(fc.integer({ min: 1, max: 100 }), { minLength: 1, maxLength: 40 });
    await fc.assert(
      fc.asyncProperty(weights, async (wanted) => {
        const lease = createLease(100);
        const granted: number[] = [];
        const asked = wanted.map((weight) => ask(lease, weight, granted));
        for (const one of asked) {
          const leased: Leased = await one;
          assert.ok(lease.inUseBytes <= lease.capacityBytes);
          await turn();
          leased.release();
        }
        assert.deepEqual(granted, wanted);
        assert.deepEqual([lease.inUseBytes, lease.waiting], [0, 0]);
      }),
      { numRuns: 50 },
    );
  });
});

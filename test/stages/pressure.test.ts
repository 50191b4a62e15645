/** The ladder as a pure function over traces of memory, and the loop around it over a process that is played. */
import assert from "node:assert/strict";
import * as fc from "fast-check";
import { createPressure, nextStep, type Ladder } from "../../src/stages/pressure.ts";

const MiB = 2 ** 20;
const ladder: Ladder = { restBytes: 60 * MiB, limitBytes: 100 * MiB, steps: 4 };

function climb(trace: readonly number[], on = ladder): number[] {
  let step = 0;
  return trace.map((rss) => (step = nextStep(on, step, rss * MiB)));
}

describe("the ladder of memory pressure", () => {
  it("takes a step at each part of the way from rest to limit, the last one at the limit", () => {
    assert.deepEqual(climb([60, 69, 70, 79, 80, 90, 99, 100, 120]), [0, 0, 1, 1, 2, 3, 3, 4, 4]);
  });

  it("goes up several steps at once", () => {
    assert.deepEqual(climb([60, 95, 200]), [0, 3, 4]);
  });

  it("goes down one step at a time, and only once memory has fallen by half a step", () => {
    assert.deepEqual(climb([100, 99, 96, 94, 94, 84, 60, 60, 60]), [4, 4, 4, 3, 3, 2, 1, 0, 0]);
  });

  it("does not swing where memory does around one of its steps", () => {
    assert.deepEqual(climb([81, 79, 81, 77, 82, 76]), [2, 2, 2, 2, 2, 2]);
  });

  it("has all its steps at the limit where the process rests above it", () => {
    const above: Ladder = { restBytes: 120 * MiB, limitBytes: 100 * MiB, steps: 3 };
    assert.deepEqual(climb([120, 100, 99, 99, 99, 99], above), [3, 3, 2, 1, 0, 0]);
  });

  it("is at its end at the limit and beyond, and comes back to rest, whatever came before", () => {
    const anyLadder = fc
      .record({ rest: fc.nat(1000), way: fc.nat(1000), steps: fc.integer({ min: 1, max: 64 }) })
      .map(({ rest, way, steps }) => ({ restBytes: rest, limitBytes: rest + way, steps }));
    fc.assert(
      fc.property(anyLadder, fc.array(fc.nat(3000)), fc.nat(1000), (on, trace, more) => {
        let step = trace.reduce((before, rss) => nextStep(on, before, rss), 0);
        assert.ok(step >= 0 && step <= on.steps);
        assert.equal(nextStep(on, step, on.limitBytes + more), on.steps);
        for (let i = 0; i < on.steps; i += 1) step = nextStep(on, step, on.restBytes - 1);
        assert.equal(step, 0);
      }),
    );
  });

  it("never answers more memory with fewer steps", () => {
    fc.assert(
      fc.property(fc.nat(4), fc.nat(150), fc.nat(50), (step, rss, more) => {
        const lower = nextStep(ladder, step, rss * MiB);
        assert.ok(nextStep(ladder, step, (rss + more) * MiB) >= lower);
      }),
    );
  });
});

/** A process whose memory a test sets. */
function played() {
  const memory = { rss: 60, heap: 10, live: 10, collected: 0, shrunk: 0 };
  const settings = { budgetBytes: 125 * MiB, threshold: 0.8, graduality: 4, spareBytes: 0 };
  const pressure = createPressure(settings, {
    rssBytes: () => memory.rss * MiB,
    heapBytes: () => memory.heap * MiB,
    collect() {
      memory.collected += 1;
      memory.heap = memory.live;
    },
    shrink() {
      memory.shrunk += 1;
      memory.heap = memory.live;
    },
  });
  const measure = (now: Partial<typeof memory>) => {
    Object.assign(memory, now);
    pressure.passed(MiB);
    return pressure;
  };
  return { memory, pressure, measure };
}

describe("memory pressure", () => {
  it("leaves a share that falls evenly to a quarter at the threshold, and grows back", () => {
    const { measure } = played();
    const shares = [60, 70, 80, 90, 100, 60, 60, 60, 60].map((rss) => measure({ rss }).share);
    const percent = shares.map((share) => Math.round(share * 100));
    assert.deepEqual(percent, [100, 71, 50, 35, 25, 35, 50, 71, 100]);
  });

  it("counts how often each step was reached", () => {
    const { pressure, measure } = played();
    for (const rss of [80, 60, 60, 70, 100]) measure({ rss });
    assert.deepEqual(pressure.reached, [2, 2, 1, 1]);
    assert.equal(pressure.step, 4);
  });

  it("is measured after every half MiB that came in, not at every batch", () => {
    const { memory, pressure } = played();
    memory.rss = 100;
    for (let batch = 0; batch < 7; batch += 1) pressure.passed(64 * 1024);
    assert.equal(pressure.step, 0);
    pressure.passed(64 * 1024);
    assert.equal(pressure.step, 4);
  });

  it("collects a heap that has grown, the sooner the higher the step, and never at ease", () => {
    const grownAt = (rss: number) => {
      const { memory, measure } = played();
      let heap = 10;
      while (memory.collected === 0 && heap < 50) measure({ rss, heap: (heap += 1) });
      return heap - 10;
    };
    assert.deepEqual([60, 70, 80, 100].map(grownAt), [40, 5, 3, 2]);
  });

  it("measures growth from what the last collection left, whoever made it", () => {
    const { memory, measure } = played();
    for (const heap of [11, 12, 9, 10, 11]) measure({ rss: 100, heap });
    assert.equal(memory.collected, 2, "at 12, and at 11 after V8 had come down to 9 by itself");
  });

  it("shrinks the heap once, when there is pressure for the first time", () => {
    const { memory, measure } = played();
    measure({ rss: 60 });
    assert.equal(memory.shrunk, 0);
    for (const rss of [70, 100, 60, 60, 60, 60, 80]) measure({ rss });
    assert.deepEqual([memory.shrunk, memory.collected], [1, 0]);
  });

  it("collects between two parts of a run where there is pressure, and only there", () => {
    const { memory, pressure, measure } = played();
    pressure.settle();
    assert.equal(memory.shrunk, 0);
    measure({ rss: 100 }).settle();
    assert.equal(memory.shrunk, 2);
    assert.equal(pressure.collections, 2);
  });

  it("does not collect a large heap for a little growth", () => {
    const { memory, measure } = played();
    measure({ rss: 100, heap: 400, live: 400 });
    for (let heap = 401; heap < 450; heap += 1) measure({ heap });
    assert.equal(memory.collected, 0);
    measure({ heap: 450 });
    assert.equal(memory.collected, 1);
  });

  it("collects this process too", () => {
    const pressure = createPressure({
      budgetBytes: 1,
      threshold: 1,
      graduality: 1,
      spareBytes: 0,
    });
    const kept: number[][] = [];
    while (pressure.collections === 0 && kept.length < 200) {
      kept.push(Array.from({ length: 2 ** 18 }, (_, i) => i / 3));
      pressure.passed(MiB);
    }
    assert.equal(pressure.collections, 1, `${kept.length} MiB later`);
    assert.equal("gc" in globalThis, false);
  });
});

import assert from "node:assert/strict";
import { createUnderWay } from "../../../src/stages/pages/under-way.ts";
import { realClock, type Clock } from "../../../src/stages/world.ts";

/** A deadline that has come as soon as it is asked for. */
const impatient: Clock = {
  ...realClock,
  after(_millis, work) {
    const timer = setImmediate(work);
    return () => clearImmediate(timer);
  },
};

describe("under-way", () => {
  const stopped = { code: "stopped" };

  it("waits for what has begun, lets nothing more begin but the last, and refuses writes after it", async () => {
    const underWay = createUnderWay();
    const begun = Promise.withResolvers<string>();
    const working = underWay.add(() => begun.promise);
    const done: string[] = [];
    void working.then((what) => done.push(what));
    const ending = underWay.end(async () => {
      underWay.check();
      done.push("last");
    });
    await assert.rejects(
      underWay.add(async () => "late"),
      stopped,
    );
    underWay.check();
    begun.resolve("first");
    await ending;
    assert.deepEqual(done.toSorted(), ["first", "last"]);
    assert.throws(() => underWay.check(), stopped);
  });

  it("leaves behind what does not end, and it may write no more", async () => {
    const underWay = createUnderWay(impatient);
    const hanging = underWay.add(() => new Promise(() => {}));
    void hanging;
    await underWay.end(async () => {});
    assert.throws(() => underWay.check(), stopped);
  });
});

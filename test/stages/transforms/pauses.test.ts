import assert from "node:assert/strict";
import { createPauses } from "../../../src/stages/transforms/pauses.ts";

describe("pauses between rows", () => {
  const work = (millis: number) => {
    for (const until = performance.now() + millis; performance.now() < until;);
  };

  it("come behind each row where rows take long", async () => {
    const pauses = createPauses(new AbortController().signal);
    work(120);
    assert.deepEqual([pauses.isDue(7), pauses.isDue(8)], [false, true]);
    await pauses.take();
    work(60);
    assert.equal(pauses.isDue(9), true);
  });

  it("end with the signal", async () => {
    const stop = new AbortController();
    const pause = createPauses(stop.signal).take();
    stop.abort();
    await assert.rejects(pause, { name: "AbortError" });
  });
});

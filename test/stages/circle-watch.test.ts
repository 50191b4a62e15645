import assert from "node:assert/strict";
import { createCircleWatch } from "../../src/stages/circle-watch.ts";

describe("a watch for circles", () => {
  it("tells each circle, however long, and wherever it begins", () => {
    for (const before of [0, 1, 7, 100])
      for (const round of [1, 2, 3, 50]) {
        const watch = createCircleWatch();
        const stepAt = (at: number) => String(at < before ? at : before + ((at - before) % round));
        let at = 0;
        while (!watch.comesAgain(stepAt(at)) && at < 10_000) at += 1;
        assert.ok(
          at >= before + round && at <= 3 * (before + round) + 2,
          `${before}, ${round}: ${at}`,
        );
      }
  });

  it("tells nothing of steps that are all new", () => {
    const watch = createCircleWatch();
    for (let at = 0; at < 10_000; at += 1) assert.ok(!watch.comesAgain(String(at)));
  });
});

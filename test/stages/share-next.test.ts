import assert from "node:assert/strict";
import { setTimeout as sleep } from "node:timers/promises";
import { shareNext } from "../../src/stages/share-next.ts";

describe("share-next", () => {
  it("does work once for all who ask while it is under way, and never two at a time", async () => {
    let [begun, underWay] = [0, 0];
    const ask = shareNext(async () => {
      begun += 1;
      underWay += 1;
      assert.equal(underWay, 1);
      await sleep(2);
      underWay -= 1;
    });
    const first = ask();
    await Promise.all([first, ask(), ask(), ask()]);
    assert.equal(begun, 2);
    await ask();
    assert.equal(begun, 3);
  });

  it("answers with work that began after the question", async () => {
    const written = [1];
    let seen: number[] = [];
    const ask = shareNext(async () => {
      const found = [...written];
      await sleep(2);
      seen = found;
    });
    void ask();
    written.push(2);
    await ask();
    assert.deepEqual(seen, [1, 2]);
  });

  it("fails for all who wait, and begins anew for who asks after", async () => {
    let works = 0;
    const ask = shareNext(async () => {
      works += 1;
      await sleep(1);
      if (works === 1) throw new Error("refused");
    });
    const outcomes = await Promise.allSettled([ask(), ask(), ask()]);
    assert.deepEqual(
      outcomes.map(({ status }) => status),
      ["rejected", "rejected", "rejected"],
    );
    await ask();
    assert.equal(works, 2);
  });
});

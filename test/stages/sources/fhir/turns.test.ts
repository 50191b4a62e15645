import assert from "node:assert/strict";
import { setTimeout as sleep } from "node:timers/promises";
import { takeTurns, turn, type Lane } from "../../../../src/stages/sources/fhir/turns.ts";

const never = new AbortController().signal;
const order = async (lanes: Lane<string>[], width: number) =>
  (await Array.fromAsync(takeTurns(lanes, width, never))).join(" ");

/** Gives `a1 | a2 a3 | …`: items with turns between, each after a while of its own. */
const lane = (script: string, slow = 0): Lane<string> =>
  async function* () {
    for (const item of script.split(" ")) {
      await sleep(slow * Math.random());
      yield item === "|" ? turn : item;
    }
  };

describe("lanes that take turns", () => {
  it("give the same order however long each takes", async () => {
    for (const slow of [0, 3, 9]) {
      const lanes = ["a1 | a2 a3 | a4", "b1 b2 | b3", "c1 | c2", "d1"].map((script, at) =>
        lane(script, slow * (at % 2)),
      );
      assert.equal(await order(lanes, 1), "a1 a2 a3 a4 b1 b2 b3 c1 c2 d1");
      assert.equal(await order(lanes, 2), "a1 b1 b2 a2 a3 b3 a4 c1 d1 c2");
      assert.equal(await order(lanes, 9), "a1 b1 b2 c1 d1 a2 a3 b3 c2 a4");
    }
  });

  it("are opened no more than allowed, and work ahead by one item", async () => {
    let open = 0;
    const made: number[] = [];
    const lanes = Array.from(
      { length: 5 },
      (_, at): Lane<number> =>
        async function* () {
          open += 1;
          made.push(at);
          yield at;
          made.push(at);
          yield at;
          open -= 1;
        },
    );
    const items = takeTurns(lanes, 3, never);
    await items.next();
    await sleep(5);
    assert.deepEqual(made, [0, 1, 2]);
    assert.equal(open, 3);
    await items.return(undefined);
  });

  it("are closed when one fails and when nobody wants more, and hear that they are not wanted", async () => {
    const closed: string[] = [];
    const watched = (name: string, fails: boolean): Lane<string> =>
      async function* (signal) {
        try {
          yield name;
          yield turn;
          if (fails) throw new Error("broken");
          await sleep(60_000, undefined, { signal });
        } finally {
          closed.push(name);
        }
      };
    const early = takeTurns([watched("a", false), watched("b", false)], 2, never);
    await early.next();
    await early.return(undefined);
    assert.deepEqual(closed.toSorted(), ["a", "b"]);
    closed.length = 0;
    await assert.rejects(order([watched("b", true), watched("a", false)], 2), /broken/);
    assert.deepEqual(closed.toSorted(), ["a", "b"]);
  });
});

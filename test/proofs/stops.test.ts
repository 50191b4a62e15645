/** A few of the trials that `npm run prove:stops` and `npm run prove:starts` run by the hundred. */
import assert from "node:assert/strict";
import { proveStarts } from "../../prove/starts.ts";
import { proveStops } from "../../prove/stops.ts";

describe("a run that is asked to stop", () => {
  it("ends, whatever hangs, and goes on to exactly the rows of the table", async function () {
    this.timeout(240_000);
    const seed = Math.floor(Math.random() * 1e6);
    const { stops, failures } = await proveStops({ trials: 2, seed, rows: 8000 });
    assert.equal(stops.length, 2);
    assert.deepEqual(failures, [], `replay with --seed ${seed}`);
  });
});

describe("starts at the same instant", () => {
  it("are one run and refusals that name it, and the lock falls with its holder", async function () {
    this.timeout(60_000);
    const { rounds, failures } = await proveStarts({ rounds: 6, starts: 3 });
    assert.equal(rounds, 6);
    assert.deepEqual(failures, []);
  });
});

/** Ten of the trials that `npm run prove:kills` runs by the hundred. */
import assert from "node:assert/strict";
import { proveKills } from "../../prove/kills.ts";

describe("a run that is killed at random moments", () => {
  it("ends, when run again, with exactly the rows of the table", async function () {
    this.timeout(300_000);
    const seed = Math.floor(Math.random() * 1e6);
    const { trials, kills, failures } = await proveKills({ trials: 10, seed, rows: 10_000 });
    assert.equal(trials, 10);
    assert.deepEqual(failures, [], `replay with --seed ${seed}`);
    const stretches = new Set(kills.map(({ stretch }) => stretch));
    assert.ok(stretches.size > 1, `all ${kills.length} kills fell ${[...stretches].join()}`);
  });
});

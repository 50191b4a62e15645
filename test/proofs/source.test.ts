/** A dozen of the trials that `npm run prove:source` runs by the hundred. */
import assert from "node:assert/strict";
import { proveSource } from "../../prove/source.ts";

describe("an export whose server or network fails at random moments", () => {
  it("is never short: it fails, or holds exactly the rows of the table", async function () {
    this.timeout(120_000);
    const seed = Math.floor(Math.random() * 1e6);
    const { trials, failures } = await proveSource({ trials: 16, seed, rows: 2000, width: 8 });
    assert.equal(trials, 16);
    assert.deepEqual(failures, [], `replay with --seed ${seed} --rows 2000 --width 8`);
  });
});

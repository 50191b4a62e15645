/** A few of the trials that `npm run prove:values` runs by the hundred. */
import assert from "node:assert/strict";
import { proveValues } from "../../prove/values.ts";

describe("values of every type, in every format, along every path", () => {
  it("come out as the server prints them, or are refused by name", async function () {
    this.timeout(300_000);
    const seed = Math.floor(Math.random() * 1e6);
    const { trials, failures, compared } = await proveValues({ trials: 8, seed });
    assert.equal(trials, 8);
    assert.deepEqual(failures, [], `replay with --seed ${seed}`);
    assert.ok(compared >= trials);
  });
});

/** Some of the damage that `npm run prove:bitflips -- --all` does to every bit. */
import assert from "node:assert/strict";
import { proveBitflips } from "../../prove/bitflips.ts";

describe("damage to an export, to a page and to the spool", () => {
  it("is refused by every reader, and nothing is released that is not authentic", async function () {
    this.timeout(120_000);
    const seed = Math.floor(Math.random() * 1e6);
    const { trials, failures } = await proveBitflips({ count: 12, seed });
    assert.ok(trials > 400, `${trials} trials`);
    assert.deepEqual(failures, [], `replay with --count 12 --seed ${seed}`);
  });
});

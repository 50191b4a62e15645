/** A few of the trials that `npm run prove:syscalls` makes by the thousand. */
import assert from "node:assert/strict";
import { proveSyscalls } from "../../prove/syscalls.ts";

describe("a run that is killed, or whose disk fails, at any operation it asks for", () => {
  it("ends, when run again, with exactly the rows of its source and nothing else", async function () {
    this.timeout(120_000);
    const seed = Math.floor(Math.random() * 1e6);
    const only = ["first run"];
    const { trials, points, reached, failures } = await proveSyscalls({ trials: 6, seed, only });
    assert.equal(trials, 6);
    assert.ok(points > 100, `${points} operations`);
    assert.ok(reached > 3, `${reached} operations were reached`);
    assert.deepEqual(failures, [], `replay with --seed ${seed} --only "first run"`);
  });
});

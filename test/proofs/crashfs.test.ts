/** Some of the states that `npm run prove:crashfs` goes through by the million, and proof that it finds defects. */
import assert from "node:assert/strict";
import { plants } from "../../prove/crashfs/plants.ts";
import { proveCrashfs } from "../../prove/crashfs.ts";

/** States of a slice: the defects must be found in as many as are gone through without any. */
const slice = 600;

describe("a run on a disk that loses power", function () {
  this.timeout(120_000);

  it("ends, when run again, with every export that was promised, whole and once", async () => {
    const seed = Math.floor(Math.random() * 1e6);
    const { states, failures } = await proveCrashfs({ states: slice, seed });
    assert.equal(states, slice);
    assert.deepEqual(failures, [], `replay with --seed ${seed} --state N`);
  });

  it("gives the same report for the same seed", async () => {
    const [one, two] = [
      await proveCrashfs({ states: 60, seed: 4 }),
      await proveCrashfs({ states: 60, seed: 4 }),
    ];
    assert.deepEqual(one, two);
  });

  for (const [defect, plant] of Object.entries(plants)) {
    it(`finds it when ${defect}`, async () => {
      const { failures } = await proveCrashfs({ states: slice, seed: 6, plant, first: true });
      assert.equal(failures.length, 1);
    });
  }
});

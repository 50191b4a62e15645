/** A few of the disks that `npm run prove:diskfull` fills. */
import assert from "node:assert/strict";
import { NotMountable, proveDiskFull } from "../../prove/diskfull.ts";
import { skipUnmounted } from "../fixtures/small-disk.ts";

describe("a run whose disk runs full", () => {
  it("stops cleanly, and with room made goes on to an export that is whole", async function () {
    this.timeout(120_000);
    const seed = Math.floor(Math.random() * 1e6);
    const asked = { trials: 3, mostMebibytes: 3, seed };
    const report = await proveDiskFull(asked).catch((error: unknown) => {
      if (error instanceof NotMountable) return skipUnmounted(this);
      throw error;
    });
    assert.equal(report.trials, 3);
    assert.deepEqual(report.failures, [], `replay with --trials 3 --most 3 --seed ${seed}`);
  });
});

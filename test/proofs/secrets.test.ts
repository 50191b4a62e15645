/** The few commands that stand for the many of `npm run prove:secrets`. */
import assert from "node:assert/strict";
import { proveSecrets } from "../../prove/secrets.ts";

describe("what a command says, writes and sends", () => {
  it("holds no secret and no row, in any form, whether it succeeds, fails or is killed", async function () {
    this.timeout(180_000);
    const seed = Math.floor(Math.random() * 1e6);
    const report = await proveSecrets({ seed, rows: 1000, few: true });
    assert.deepEqual(report.failures, [], `replay with --few --rows 1000 --seed ${seed}`);
    assert.ok(report.commands >= 10 && report.sinks.length >= 20);
    assert.equal(report.planted.found, report.planted.of);
  });
});

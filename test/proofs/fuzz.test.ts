/** Some of the cases that `npm run prove:fuzz` runs by the million. */
import assert from "node:assert/strict";
import { fuzzClasses } from "../../prove/fuzz/classes.ts";
import { proveFuzz } from "../../prove/fuzz.ts";

const cases = 250;

describe("bytes from outside", () => {
  for (const name of Object.keys(fuzzClasses)) {
    it(`are understood or refused by name: ${name}`, async function () {
      this.timeout(120_000);
      const seed = Math.floor(Math.random() * 1e6);
      const report = await proveFuzz({ name, cases, seed });
      assert.deepEqual(report.failures, [], `replay with --class ${name} --seed ${seed}`);
      assert.equal(report.cases, cases);
      assert.ok(report.understood < cases || name === "header" || name === "checkpoint");
    });
  }
});

/** That the list of planted bugs still fits the sources, and two of the bugs that `npm run prove:mutations` plants. */
import assert from "node:assert/strict";
import { readFile } from "node:fs/promises";
import { allMutations, findRot, proveMutations } from "../../prove/mutations.ts";

describe("planted bugs", () => {
  it("have their place in the sources, each exactly once, and tests that are to notice them", async () => {
    assert.ok(allMutations().length >= 40);
    assert.deepEqual(await findRot(allMutations()), []);
  });

  it("are all published, and none of them survived", async () => {
    const page = await readFile(new URL("../../docs/mutations.md", import.meta.url), "utf8");
    assert.doesNotMatch(page, /\*\*survived\*\*/);
    const missing = allMutations().filter(({ bug }) => !page.includes(`| ${bug} |`));
    assert.deepEqual(missing, [], "run `npm run prove:mutations`");
  });

  it("are noticed by the tests named for them", async function () {
    this.timeout(120_000);
    const quick = allMutations().filter(
      ({ caughtBy }) => caughtBy[0] === "test/stages/durable-file.test.ts",
    );
    const results = await proveMutations(quick.slice(0, 2));
    assert.equal(results.length, 2);
    for (const { mutation, caught } of results) assert.ok(caught, mutation.bug);
  });
});

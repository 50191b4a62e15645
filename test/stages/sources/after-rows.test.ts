import assert from "node:assert/strict";
import { afterRows } from "../../../src/stages/sources/after-rows.ts";

describe("how far a query had come", () => {
  it("is told in rows, one as one, and not where none were flowing", () => {
    const told = [undefined, 0, 1, 2].map(afterRows);
    assert.deepEqual(told, ["", " after 0 rows", " after 1 row", " after 2 rows"]);
  });
});

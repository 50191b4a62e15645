import assert from "node:assert/strict";
import { PipelineError } from "../../../src/errors.ts";
import { translate } from "../../../src/stages/sources/sqlite-snapshot.ts";

const secret = "constraint failed: Jane Doe";

describe("an error of SQLite", () => {
  const told = (errcode: number) =>
    translate(Object.assign(new Error(secret), { errcode }), "rows.db") as PipelineError;

  it("is told by its code, whatever its variant, and never in its words", () => {
    const codes = { 5: "source-failed", 6: "source-failed", 10: "source-failed", 13: "disk-full" };
    const damaged = { 11: "source-bad-data", 26: "source-bad-data" };
    for (const [errcode, code] of Object.entries({ ...codes, ...damaged })) {
      // The high bytes tell variants apart (extended result codes).
      for (const variant of [Number(errcode), Number(errcode) | (3 << 8)]) {
        const { code: given, message } = told(variant);
        assert.equal(given, code, errcode);
        assert.match(message, new RegExp(`^rows\\.db \\(SQLite code ${errcode}\\)`));
        assert.doesNotMatch(message, /Jane/);
      }
    }
  });

  it("is no other error, which stays what it is", () => {
    const ours = new PipelineError("internal", "x");
    assert.equal(translate(ours, "rows.db"), ours);
    const defect = new TypeError("x");
    assert.equal(translate(defect, "rows.db"), defect);
  });
});

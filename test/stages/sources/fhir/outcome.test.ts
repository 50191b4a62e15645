import assert from "node:assert/strict";
import { parseOutcome, readOutcome } from "../../../../src/stages/sources/fhir/outcome.ts";

const outcomeOf = (issue: unknown) => readOutcome({ resourceType: "OperationOutcome", issue });

describe("an OperationOutcome", () => {
  it("is told by the worst of its issues, each code once, three at most", () => {
    const issue = (severity: string, code: unknown) => ({ severity, code });
    assert.deepEqual(
      outcomeOf([
        issue("warning", "business-rule"),
        issue("error", "timeout"),
        issue("error", "timeout"),
      ]),
      { severity: "error", told: "error: timeout" },
    );
    const many = ["a", "b", "c", "d"].map((code) => issue("fatal", code));
    assert.equal(outcomeOf(many)?.told, "fatal: a, b, c");
  });

  it("may say that all went well, as R5 has it", () => {
    const issue = [{ severity: "success", code: "success" }];
    assert.equal(outcomeOf(issue)?.severity, "success");
  });

  it("says nothing that is no code: a text may quote health data", () => {
    for (const code of ["Jane Doe has asthma", "x".repeat(41), 7, undefined])
      assert.equal(outcomeOf([{ severity: "error", code }])?.told, "error: unknown");
  });

  it("is an error where it does not say how bad it is", () => {
    for (const issue of [undefined, "none", [], [null], [{ severity: "dire", code: "x" }]])
      assert.deepEqual(outcomeOf(issue), { severity: "error", told: "error: unknown" });
  });

  it("is nothing else, and no body that is no JSON", () => {
    for (const other of [undefined, null, 7, "x", {}, { resourceType: "Bundle" }])
      assert.equal(readOutcome(other), undefined);
    assert.equal(parseOutcome("<html>"), undefined);
    const text = JSON.stringify({ resourceType: "OperationOutcome", issue: [] });
    assert.equal(parseOutcome(text)?.severity, "error");
  });
});

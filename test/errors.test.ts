import assert from "node:assert/strict";
import {
  PipelineError,
  assert as stand,
  errorCodes,
  framesOf,
  isAbort,
  kindOf,
  systemCode,
  type ErrorCode,
} from "../src/errors.ts";

describe("errors", () => {
  it("knows the exit code and the remedy of every code", () => {
    const exits = new Set([0, 1, 2, 3, 4, 5, 6, 7, 75, 130]);
    for (const code of Object.keys(errorCodes) as ErrorCode[]) {
      const error = new PipelineError(code, "x: y");
      assert.ok(exits.has(error.exitCode), `${code} ends with ${error.exitCode}`);
      assert.equal(error.remedy, errorCodes[code].remedy);
    }
  });

  it("is retriable when trying again is the remedy, unless it says otherwise", () => {
    assert.equal(new PipelineError("source-failed", "x").retriable, true);
    assert.equal(new PipelineError("source-refused", "x").retriable, false);
    assert.equal(new PipelineError("source-failed", "x", { retriable: false }).retriable, false);
  });

  it("keeps its cause, stage and details", () => {
    const cause = new Error("below");
    const error = new PipelineError("internal", "x", {
      cause,
      stage: "chunk",
      details: { page: 3 },
    });
    assert.equal(error.cause, cause);
    assert.equal(error.stage, "chunk");
    assert.deepEqual(error.details, { page: 3 });
    assert.equal("cause" in new PipelineError("internal", "x"), false);
  });

  it("asserts in production too", () => {
    stand(true, "holds");
    assert.throws(() => stand(false, "does not hold"), { code: "internal" });
  });

  it("tells an abort and a system error from others", () => {
    assert.equal(isAbort(AbortSignal.abort().reason), true);
    assert.equal(isAbort(new DOMException("late", "TimeoutError")), true);
    assert.equal(isAbort(new Error("x")), false);
    assert.equal(isAbort(undefined), false);
    assert.equal(systemCode(Object.assign(new Error("x"), { code: "ENOSPC" })), "ENOSPC");
    for (const other of [new Error("x"), { code: 5 }, { code: "Ada Lovelace" }, null, "ENOSPC"])
      assert.equal(systemCode(other), undefined);
  });

  it("tells of a foreign error its class and its frames, whatever data it carries", () => {
    class RowError extends Error {}
    const row = { name: "Ada", code: "secret", constructor: { name: "Ada" } };
    const error = Object.assign(new RowError("Ada\n    at Ada (x:1:1)"), row);
    assert.equal(kindOf(error), "RowError");
    assert.equal(kindOf(row), "object");
    assert.equal(kindOf(Object.setPrototypeOf(new Error("x"), null)), "object");
    assert.ok(framesOf(error).length > 1);
    assert.doesNotMatch(framesOf(error).join("\n"), /Ada/);
    error.message = "another one";
    assert.ok(framesOf(error).some((line) => line.includes("errors.test")));
    assert.equal(kindOf(new (class extends Error {})("Ada")), "Error");
  });
});

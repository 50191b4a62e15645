import assert from "node:assert/strict";
import { asFailure, failureDocument, failureText } from "../../src/cli/failure.ts";
import { paintFor } from "../../src/cli/screen.ts";
import { PipelineError } from "../../src/errors.ts";

describe("failure", () => {
  const secret = "value of row 7: Jane Doe";
  const cause = new RangeError(secret);
  const unexpected = new TypeError(secret, { cause });

  it("tells nothing that an unexpected error says, in any form, with or without its stack", () => {
    const failure = asFailure(unexpected);
    assert.deepEqual([failure.code, failure.exitCode], ["internal", 1]);
    assert.match(failure.message, /unexpected TypeError/);
    const paint = paintFor(process.stderr);
    const told = [
      JSON.stringify(failureDocument(failure)),
      failureText(failure, paint, false),
      failureText(failure, paint, true),
    ].join("\n");
    assert.doesNotMatch(told, /Jane/);
    assert.match(told, /caused by RangeError/);
  });

  it("tells what is no error at all by its kind", () => {
    assert.match(asFailure(secret).message, /unexpected string/);
    assert.doesNotMatch(asFailure(secret).message, /Jane/);
  });

  it("names the system's code, and the stage and the facts that an error of ours has", () => {
    const full = Object.assign(new Error(secret), { code: "ENOSPC" });
    assert.match(asFailure(full).message, /unexpected Error \(ENOSPC\) ended/);
    const told = failureText(asFailure(full), paintFor(process.stderr), true);
    assert.match(told, /^caused by Error \(ENOSPC\)$/m);
    const init = { stage: "chunk", details: { page: 3 } };
    const { error } = failureDocument(new PipelineError("internal", "it broke", init));
    assert.deepEqual([error.stage, error.details], ["chunk", { page: 3 }]);
    assert.equal("stage" in failureDocument(new PipelineError("internal", "x")).error, false);
  });
});

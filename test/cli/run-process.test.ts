import assert from "node:assert/strict";
import { readEnd } from "../../src/cli/run-process.ts";
import { errorCodes, type ErrorCode } from "../../src/errors.ts";

describe("how a run's process ended", () => {
  const endedWith = (code: ErrorCode) => {
    const { exit, remedy } = errorCodes[code];
    return readEnd(exit, JSON.stringify({ error: { code, remedy } }));
  };

  it("tells what may help to try again: a full disk or spool too, a wrong configuration not", () => {
    const helps = ["disk-full", "spool-full", "spool-failed", "source-unreachable", "stopped"];
    const never = ["config-invalid", "budget-too-small", "source-refused", "integrity-failed"];
    for (const code of helps) assert.ok(endedWith(code as ErrorCode).mayHelp, code);
    for (const code of never) assert.ok(!endedWith(code as ErrorCode).mayHelp, code);
  });

  it("believes of its document only what fits", () => {
    const strange = readEnd(1, JSON.stringify({ runId: 7, slot: {}, error: { code: [] } }));
    const nothing = { exitCode: 1, code: null, mayHelp: false, runId: null, slot: null };
    assert.deepEqual(strange, nothing);
    assert.deepEqual(readEnd(1, "{ half"), nothing);
    assert.deepEqual(readEnd(137, ""), { ...nothing, exitCode: 137, mayHelp: true });
  });

  it("believes no document that is none", () => {
    for (const text of ["null", "7", "[]", '"text"', '{"error":null}'])
      assert.deepEqual([readEnd(1, text).code, readEnd(1, text).runId], [null, null], text);
  });
});

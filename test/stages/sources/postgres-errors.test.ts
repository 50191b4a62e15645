import assert from "node:assert/strict";
import { inspect } from "node:util";
import { DatabaseError } from "pg";
import { PipelineError } from "../../../src/errors.ts";
import { explain } from "../../../src/stages/sources/postgres-errors.ts";

/** An error as the server sends it, every field of which may quote a row. */
function serverError(code: string): DatabaseError {
  const secret = "Jane Doe";
  const error = new DatabaseError(`invalid input syntax: "${secret}"`, 100, "error");
  const texts = { detail: secret, hint: secret, where: secret, internalQuery: secret };
  return Object.assign(error, { code, severity: "ERROR", position: "7", ...texts });
}

describe("postgres-errors", () => {
  for (const phase of ["connect", "query"] as const) {
    for (const code of ["22P02", "57P01", "42601", "22021", "25006", "XX000"]) {
      it(`tells of ${code} in phase ${phase} by its class, and nothing that the server said`, () => {
        const told = explain(serverError(code), phase, 12);
        assert.ok(told instanceof PipelineError);
        assert.match(told.message, new RegExp(code));
        assert.doesNotMatch(inspect(told, { depth: 9, showHidden: true }), /Jane/);
      });
    }
  }
});

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

  it("calls a class that it does not know an error, and no class an internal one", () => {
    const told = (code: string | undefined, phase: "connect" | "query" = "query") => {
      const error = Object.assign(serverError("00000"), { code, severity: undefined });
      return explain(error, phase) as PipelineError;
    };
    assert.match(told("ZZ000").message, /\(SQLSTATE ZZ000, error\)/);
    assert.equal(told("ZZ000").code, "source-refused");
    assert.match(told(undefined).message, /\(SQLSTATE XX000, internal error of the server\)/);
    assert.equal(told(undefined, "connect").code, "source-unreachable");
  });

  it("tells of a connection that was not made why, as far as anything says so", () => {
    const told = (error: unknown) => explain(error, "connect") as PipelineError;
    const codes = [
      [
        new Error("Connection terminated unexpectedly"),
        "source-unreachable",
        /\(connection closed\)/,
      ],
      [new Error("timeout expired"), "source-unreachable", /\(no answer in time\)/],
      [new Error("The server does not support SSL"), "source-refused", /TLS could not be agreed;/],
      ["Jane Doe", "source-refused", /the login could not be completed/],
    ] as const;
    for (const [error, code, message] of codes) {
      assert.equal(told(error).code, code);
      assert.match(told(error).message, message);
      assert.doesNotMatch(told(error).message, /Jane/);
    }
  });
});

import assert from "node:assert/strict";
import { PipelineError } from "../../../src/errors.ts";
import { explain } from "../../../src/stages/sources/mysql-errors.ts";

const answer = (errno: number, sqlState = "42000") =>
  Object.assign(new Error("secret of row 7"), { errno, sqlState });

function explained(error: unknown, phase: "connect" | "query", rows?: number): PipelineError {
  const told = explain(error, phase, rows);
  assert(told instanceof PipelineError);
  assert(!told.message.includes("secret") && told.cause === undefined);
  return told;
}

describe("an error of MySQL", () => {
  it("that is ours, or an abort, passes unchanged", () => {
    const ours = new PipelineError("internal", "ours");
    const abort = new DOMException("stop", "AbortError");
    assert.equal(explain(ours, "query"), ours);
    assert.equal(explain(abort, "connect"), abort);
  });

  it("at the login can pass where the server is full, and cannot where it refuses", () => {
    assert.equal(explained(answer(1040, "08004"), "connect").code, "source-unreachable");
    assert.equal(explained(answer(1045, "28000"), "connect").code, "source-refused");
  });

  it("before there is an answer is of TLS, or of the network", () => {
    const tls = Object.assign(new Error("secret"), { code: "ERR_TLS_CERT_ALTNAME_INVALID" });
    assert.equal(explained(tls, "connect").code, "source-refused");
    assert.match(
      explained(new Error("SSL routines"), "connect").message,
      /TLS could not be agreed;/,
    );
    const network = Object.assign(new Error("secret"), { code: "ECONNREFUSED" });
    assert.match(explained(network, "connect").message, /\(ECONNREFUSED\)/);
    for (const [code, syscall, what] of [
      ["EAI_AGAIN", "getaddrinfo", "tls-db.example"],
      ["ENOENT", "connect", "/run/ssl/socket"],
    ]) {
      const named = Object.assign(new Error(`${syscall} ${code} ${what}`), { code, syscall });
      assert.equal(explained(named, "connect").code, "source-unreachable");
    }
    const broken = Object.assign(new Error("write EPROTO: SSL routines"), {
      code: "EPROTO",
      syscall: "write",
    });
    assert.equal(explained(broken, "connect").code, "source-refused");
    assert.match(explained(undefined, "connect").message, /\(connection closed\)/);
    assert.match(explained("secret", "connect").message, /\(connection closed\)/);
  });

  for (const [errno, code, words] of [
    [1412, "source-failed", /not to be altered/],
    [1792, "source-refused", /a query that only reads/],
    [1969, "source-failed", /time limit/],
    [3024, "source-failed", /time limit/],
    [1213, "source-failed", /try again/],
    [1064, "source-refused", /one SELECT/],
  ] as const) {
    it(`${errno} in a query says what to do, and after how many rows`, () => {
      const told = explained(answer(errno), "query", 12);
      assert.equal(told.code, code);
      assert.match(told.message, words);
      assert.match(told.message, /after 12 rows \(error/);
      assert.deepEqual(told.details, { rows: 12, errno, sqlstate: "42000" });
    });
  }

  it("with a state that is none is told with the general one", () => {
    assert.match(explained(answer(1064, "secret"), "query").message, /SQLSTATE HY000/);
    assert.equal(explained(answer(9999, "08S01"), "query").code, "source-failed");
  });

  it("of a connection that ended says so, with the system's word where there is one", () => {
    assert.match(explained(new Error("secret"), "query").message, /server ended; expected/);
    const reset = Object.assign(new Error("secret"), { code: "ECONNRESET" });
    assert.deepEqual(explained(reset, "query", 3).details, { rows: 3, systemCode: "ECONNRESET" });
  });
});

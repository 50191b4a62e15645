/**
 * What PostgreSQL and its sockets complain about, in our words. The server's message, detail, hint and context can
 * quote row values and parameters, so only the SQLSTATE, its class and a position in the query ever leave here; the
 * original is not even kept as `cause`.
 * Source: https://www.postgresql.org/docs/current/errcodes-appendix.html
 */
import { DatabaseError } from "pg";
import { type ErrorCode, PipelineError, isAbort, systemCode } from "../../errors.ts";
import { afterRows } from "./after-rows.ts";

const classes: Readonly<Record<string, string>> = {
  "08": "connection exception",
  "0A": "feature not supported",
  "22": "data exception",
  "23": "integrity constraint violation",
  "25": "invalid transaction state",
  "26": "invalid SQL statement name",
  "28": "invalid authorization",
  "2B": "dependent objects",
  "3D": "invalid database name",
  "3F": "invalid schema name",
  "40": "transaction rollback",
  "42": "syntax error or access rule violation",
  "53": "insufficient resources",
  "54": "program limit exceeded",
  "55": "object not in prerequisite state",
  "57": "operator intervention",
  "58": "system error",
  "72": "snapshot failure",
  P0: "PL/pgSQL error",
  XX: "internal error of the server",
};
/** Classes that may pass when the same query is run again. */
const passing = new Set(["08", "40", "53", "55", "57", "58", "72", "XX"]);
/** Text in the table is not valid in its own encoding, or has no UTF-8 form. */
const badText = new Set(["22021", "22P05"]);

/**
 * Turns whatever `pg` threw into a PipelineError; ours and aborts pass unchanged.
 * @param rows rows received so far, where rows were flowing.
 */
export function explain(error: unknown, phase: "connect" | "query", rows?: number): unknown {
  if (error instanceof PipelineError || isAbort(error)) return error;
  const when = afterRows(rows);
  const details = rows === undefined ? {} : { rows };
  if (error instanceof DatabaseError) return explainAnswer(error, phase, { when, details });
  if (phase === "connect") return explainConnect(error);
  const code = systemCode(error);
  return new PipelineError(
    "source-failed",
    `the connection to the server ended${when}${code ? ` (${code})` : ""}; expected it to last to the end of the query`,
    { details: code ? { ...details, systemCode: code } : details },
  );
}

function explainConnect(error: unknown): PipelineError {
  const code = systemCode(error);
  const isSystem = typeof (error as { syscall?: unknown } | undefined)?.syscall === "string";
  const message = error instanceof Error ? error.message : "";
  if (isSystem || /terminated|timeout expired/.test(message)) {
    const why = code ?? (message.includes("timeout") ? "no answer in time" : "connection closed");
    return new PipelineError(
      "source-unreachable",
      `the database server cannot be reached (${why}); expected it to accept connections at the host and port of \`url\``,
      { details: code ? { systemCode: code } : {} },
    );
  }
  const what = /SSL|TLS|CERT|UNABLE_TO/i.test(`${code} ${message}`)
    ? `TLS could not be agreed${code ? ` (${code})` : ""}; expected a server whose certificate and host name can be verified; say otherwise in \`url\`: ` +
      "`?sslrootcert=<file>` for an authority of your own, `?sslmode=disable` for no TLS"
    : "the login could not be completed; expected a user and password in `url` that the server takes";
  return new PipelineError("source-refused", what, { details: code ? { systemCode: code } : {} });
}

function explainAnswer(
  error: DatabaseError,
  phase: "connect" | "query",
  at: { when: string; details: Record<string, number> },
): PipelineError {
  const sqlstate = error.code ?? "XX000";
  const kind = classes[sqlstate.slice(0, 2)] ?? "error";
  const details = { ...at.details, sqlstate };
  const said = `SQLSTATE ${sqlstate}, ${kind}`;
  if (phase === "connect") {
    const refused = !passing.has(sqlstate.slice(0, 2));
    return new PipelineError(
      refused ? "source-refused" : "source-unreachable",
      refused
        ? `the server refused the login (${said}); expected \`url\` to name an existing database, user and password`
        : `the server takes no connections now (${said}); try again later`,
      { details },
    );
  }
  if (error.routine === "exec_parse_message" && sqlstate === "42601") {
    return new PipelineError(
      "source-refused",
      "`query` holds more than one statement; expected exactly one",
      { details },
    );
  }
  const place = error.position ? ` at character ${error.position}` : "";
  return new PipelineError(
    codeOf(error, sqlstate),
    `the server stopped the query${at.when}${place} (${said}); ${expectation(sqlstate)}`,
    { details: error.position ? { ...details, position: Number(error.position) } : details },
  );
}

function codeOf(error: DatabaseError, sqlstate: string): ErrorCode {
  if (badText.has(sqlstate)) return "source-bad-data";
  const mayPass = passing.has(sqlstate.slice(0, 2)) || /FATAL|PANIC/.test(error.severity ?? "");
  return mayPass ? "source-failed" : "source-refused";
}

function expectation(sqlstate: string): string {
  if (sqlstate === "57014")
    return "expected it to end within `statementTimeout` and not be cancelled";
  if (sqlstate === "55P03") return "expected its tables to be free of exclusive locks";
  if (sqlstate === "25006") return "expected a query that only reads";
  if (badText.has(sqlstate)) return "expected text that has a UTF-8 form";
  return "expected a query the server can run to its end";
}

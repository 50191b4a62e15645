/**
 * What MySQL, MariaDB and their sockets complain about, in our words. The server's message can quote row values and
 * parameters, so only its error number and SQLSTATE ever leave here; the original is not even kept as `cause`.
 * Source: https://mariadb.com/kb/en/mariadb-error-codes/, https://dev.mysql.com/doc/mysql-errors/8.4/en/
 */
import { type ErrorCode, PipelineError, isAbort, systemCode } from "../../errors.ts";
import { afterRows } from "./after-rows.ts";

/** The server is full, starting or going: the same login may work later. */
const busy: ReadonlySet<number> = new Set([1040, 1053, 1129, 1203, 1226]);
/**
 * What may pass when the same query is run again: disk and memory (1021, 1030, 1037, 1041, 1114), shutdown (1053), locks
 * (1205, 1213), a killed query or connection (1317, 1927), a table that was altered meanwhile (1412), time limits (1969, 3024).
 */
const passing: ReadonlySet<number> = new Set([
  1021, 1030, 1037, 1041, 1053, 1114, 1205, 1213, 1317, 1412, 1927, 1969, 3024,
]);

interface Answer {
  readonly errno: number;
  readonly sqlState: string;
}

/**
 * Turns whatever `mysql2` threw into a PipelineError; ours and aborts pass unchanged.
 * @param rows rows received so far, where rows were flowing
 */
export function explain(error: unknown, phase: "connect" | "query", rows?: number): unknown {
  if (error instanceof PipelineError || isAbort(error)) return error;
  const answer = answerOf(error);
  if (phase === "connect") return answer ? explainLogin(answer) : explainConnect(error);
  const when = afterRows(rows);
  const details = rows === undefined ? {} : { rows };
  if (answer) return explainAnswer(answer, when, details);
  const code = systemCode(error);
  return new PipelineError(
    "source-failed",
    `the connection to the server ended${when}${code ? ` (${code})` : ""}; expected it to last to the end of the query`,
    { details: code ? { ...details, systemCode: code } : details },
  );
}

/** What the server itself said; the library's own errors have no SQLSTATE. */
function answerOf(error: unknown): Answer | undefined {
  const { errno, sqlState } = (error ?? {}) as Partial<Record<keyof Answer, unknown>>;
  if (typeof errno !== "number" || typeof sqlState !== "string") return undefined;
  return { errno, sqlState: /^[0-9A-Z]{5}$/.test(sqlState) ? sqlState : "HY000" };
}

const said = ({ errno, sqlState }: Answer) => `error ${errno}, SQLSTATE ${sqlState}`;
const detailsOf = ({ errno, sqlState }: Answer) => ({ errno, sqlstate: sqlState });

function explainConnect(error: unknown): PipelineError {
  const code = systemCode(error);
  const details = code ? { systemCode: code } : {};
  const { syscall } = (error ?? {}) as { syscall?: unknown };
  // Where nobody was reached the message names the host, or the socket, which may be called so too.
  const isReached = syscall !== "getaddrinfo" && syscall !== "connect";
  const message = error instanceof Error ? error.message : "";
  const isTls = isReached && /SSL|TLS|CERT|UNABLE_TO|ALTNAME/i.test(`${code} ${message}`);
  if (isTls)
    return new PipelineError(
      "source-refused",
      `TLS could not be agreed${code ? ` (${code})` : ""}; expected a server whose certificate and host name can be verified; ` +
        "say otherwise in `url`: `?ssl-ca=<file>` for an authority of your own, `?ssl-mode=disabled` for no TLS",
      { details },
    );
  return new PipelineError(
    "source-unreachable",
    `the database server cannot be reached (${code ?? "connection closed"}); expected it to accept connections at the host and port of \`url\``,
    { details },
  );
}

function explainLogin(answer: Answer): PipelineError {
  const mayPass = busy.has(answer.errno);
  return new PipelineError(
    mayPass ? "source-unreachable" : "source-refused",
    mayPass
      ? `the server takes no connections now (${said(answer)}); try again later`
      : `the server refused the login (${said(answer)}); expected \`url\` to name an existing database, user and password`,
    { details: detailsOf(answer) },
  );
}

function explainAnswer(
  answer: Answer,
  when: string,
  details: Record<string, number>,
): PipelineError {
  return new PipelineError(
    codeOf(answer),
    `the server stopped the query${when} (${said(answer)}); ${expectation(answer.errno)}`,
    { details: { ...details, ...detailsOf(answer) } },
  );
}

function codeOf({ errno, sqlState }: Answer): ErrorCode {
  return passing.has(errno) || /^(08|40)/.test(sqlState) ? "source-failed" : "source-refused";
}

function expectation(errno: number): string {
  if (errno === 1412)
    return "expected its tables not to be altered while they are read; run it again";
  if (errno === 1792) return "expected a query that only reads";
  if (errno === 1969 || errno === 3024) return "expected it to end within the server's time limit";
  return passing.has(errno)
    ? "expected it to run to its end; try again"
    : "expected one SELECT that the server can run to its end";
}

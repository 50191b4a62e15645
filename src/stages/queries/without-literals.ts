/** SQL for people and logs: a literal may be a patient's number, and a comment anything. */
import { type SqlToken, tokenizeSql } from "../sources/sql-tokens.ts";

const hidden: ReadonlySet<SqlToken["kind"]> = new Set(["text", "number", "comment", "open"]);

/** The statement with `…` for its texts, numbers and comments. */
export const withoutLiterals = (sql: string): string =>
  tokenizeSql(sql)
    .map(({ kind, text }) => (hidden.has(kind) ? "…" : text))
    .join("");

/** SQL for people and logs: a literal may be a patient's number, and a comment anything. */

// Texts, numbers and comments of SQL; what stands in double quotes or is a parameter is matched to be left alone.
const sqlToken =
  /"(?:[^"]|"")*"|\$\d+|[A-Za-z_][\w$]*(?!')|[eE]'(?:\\.|''|[^'\\])*'|'(?:''|[^'])*'|\$(\w*)\$.*?\$\1\$|\d[\w.]*|--[^\n]*|\/\*.*?\*\//gs;

/** The statement with `…` for its texts, numbers and comments. */
export const withoutLiterals = (sql: string): string =>
  sql.replace(sqlToken, (token) => (/^(?:"|\$\d|[A-Za-z_][\w$]*$)/.test(token) ? token : "…"));

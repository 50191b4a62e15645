/**
 * SQL as its server cuts it up, for who hides literals or takes semicolons off an end. Tokens joined are the statement.
 *
 * A server that took a statement found an end of every text and comment, and no backslash outside of them. A reading that does
 * not is of another setting or server, and the next is tried: PostgreSQL as it is, then without
 * `standard_conforming_strings`, then SQLite. Each pattern matches in one way alone, so that no statement takes long.
 *
 * Source: PostgreSQL `src/backend/parser/scan.l`.
 */
type Kind = "blank" | "comment" | "text" | "name" | "number" | "parameter" | "semicolon" | "sign";

export interface SqlToken {
  /** `open` has no end, and is all that is left. */
  readonly kind: Kind | "open";
  readonly text: string;
}

/**
 * Of the first reading that finds an end of everything; otherwise of the first.
 * @param server `any` where it may be SQLite's, too
 */
export function tokenizeSql(
  sql: string,
  server: "postgres" | "any" = "postgres",
): readonly SqlToken[] {
  const candidates = server === "any" ? [...readings, sqlite] : readings;
  let first: readonly SqlToken[] | undefined;
  for (const reading of candidates) {
    const tokens = read(sql, reading);
    if (tokens.at(-1)?.kind !== "open") return tokens;
    first ??= tokens;
  }
  return first ?? [];
}

interface Reading {
  readonly pattern: RegExp;
  readonly nests: boolean;
}

const plain = String.raw`'[^']*(?:''[^']*)*'(?!')`;
const escaped = String.raw`'[^'\\]*(?:(?:''|\\[^])[^'\\]*)*'(?!')`;
/** Texts with a line break between them are one, and all of it is escaped as it begins. */
const lineBreak = String.raw`(?:[ \t\f\v]|--[^\r\n]*(?![^\r\n]))*[\r\n](?:[ \t\f\v\r\n]|--[^\r\n]*[\r\n])*`;
const escapedWhole = `${escaped}(?:${lineBreak}${escaped})*`;
const prefix = "(?:[bBxXnN]|[uU]&)?";
const letter = String.raw`[A-Za-z_\u0080-\uffff]`;
const dollar = String.raw`\$(?:${letter}(?:${letter}|\d)*)?\$`;

/** The first that matches is it, so that a name is met whole before the quote behind it. */
const patternOf = (text: string, names: readonly string[]): RegExp =>
  new RegExp(
    [
      String.raw`(?<blank>[ \t\f\v\r\n]+)`,
      String.raw`(?<comment>--[^\r\n]*)`,
      String.raw`(?<text>[eE]${escapedWhole}|${prefix}${text}|(?<quote>${dollar})[^]*?\k<quote>)`,
      String.raw`(?<name>${names.join("|")}|(?!(?:[eE]|${prefix})')${letter}(?:${letter}|[\d$])*)`,
      String.raw`(?<number>0[xX][\da-fA-F_]+|0[oO][0-7_]+|0[bB][01_]+|\d[\d_]*(?:\.[\d_]*)?(?:[eE][+-]?\d[\d_]*)?)`,
      String.raw`(?<parameter>\$\d+)`,
      "(?<semicolon>;)",
      String.raw`(?<open>[eE]'|${prefix}'|"|${dollar}|\\)`,
      "(?<sign>[^])",
    ].join("|"),
    "y",
  );

const quotedName = String.raw`"[^"]*(?:""[^"]*)*"(?!")`;

const readings: readonly Reading[] = [
  { pattern: patternOf(plain, [quotedName]), nests: true },
  { pattern: patternOf(escapedWhole, [quotedName]), nests: true },
];

const sqlite: Reading = {
  pattern: patternOf(plain, [quotedName, "`[^`]*`", String.raw`\[[^\]]*\]`]),
  nests: false,
};

function read(sql: string, { pattern, nests }: Reading): readonly SqlToken[] {
  const tokens: SqlToken[] = [];
  for (let at = 0; at < sql.length; at += tokens.at(-1)!.text.length)
    tokens.push(sql.startsWith("/*", at) ? blockComment(sql, at, nests) : next(sql, at, pattern));
  return tokens;
}

function next(sql: string, at: number, pattern: RegExp): SqlToken {
  pattern.lastIndex = at;
  const { 0: text, groups = {} } = pattern.exec(sql)!;
  if (groups["open"] !== undefined) return { kind: "open", text: sql.slice(at) };
  const kind = Object.keys(groups).find((name) => groups[name] !== undefined) as Kind;
  return { kind, text };
}

function blockComment(sql: string, start: number, nests: boolean): SqlToken {
  const marks = nests ? /\/\*|\*\//g : /\*\//g;
  marks.lastIndex = start + 2;
  for (let depth = 1, mark = marks.exec(sql); mark; mark = marks.exec(sql)) {
    depth += mark[0] === "/*" ? 1 : -1;
    if (depth === 0) return { kind: "comment", text: sql.slice(start, marks.lastIndex) };
  }
  return { kind: "open", text: sql.slice(start) };
}

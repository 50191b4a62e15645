/**
 * A record of NDJSON cut into its members, each a JSON text of its own: no digit is lost on the way, nested values stay
 * as they were written, and a name that comes twice is seen.
 */
import { isJsonNumber } from "../formats/json-text.ts";
import { refusedPage } from "./table.ts";

/** Names and values as JSON texts, the first `count` of each; the next record takes their places. */
export interface Members {
  readonly names: string[];
  readonly values: string[];
  count: number;
}

const quote = 0x22;
const backslash = 0x5c;
const comma = 0x2c;
const openBrace = 0x7b;
const closeBrace = 0x7d;
const openBracket = 0x5b;

/** @throws PipelineError `destination-refused` where the text is no JSON object */
export function readMembers(text: string, into: Members): void {
  into.count = 0;
  let at = expect(text, skipSpace(text, 0), "{");
  if (text[skipSpace(text, at)] === "}") return end(text, skipSpace(text, at) + 1);
  for (;;) {
    const name = skipSpace(text, at);
    if (text.charCodeAt(name) !== quote) throw malformed();
    const nameEnd = endOfString(text, name);
    const value = skipSpace(text, expect(text, skipSpace(text, nameEnd), ":"));
    const valueEnd = endOfValue(text, value);
    into.names[into.count] = text.slice(name, nameEnd);
    into.values[into.count] = text.slice(value, valueEnd);
    into.count += 1;
    at = skipSpace(text, valueEnd);
    if (text[at] === "}") return end(text, at + 1);
    at = expect(text, at, ",");
  }
}

function end(text: string, at: number): void {
  if (skipSpace(text, at) < text.length) throw malformed();
}

function expect(text: string, at: number, sign: string): number {
  if (text[at] !== sign) throw malformed();
  return at + 1;
}

function skipSpace(text: string, from: number): number {
  let at = from;
  while (text[at] === " " || text[at] === "\t" || text[at] === "\r") at += 1;
  return at;
}

function endOfValue(text: string, from: number): number {
  const first = text.charCodeAt(from);
  if (first === quote) return endOfString(text, from);
  if (first === openBrace || first === openBracket) return endOfNested(text, from);
  let at = from;
  while (at < text.length && !endsWord(text.charCodeAt(at))) at += 1;
  const word = text.slice(from, at);
  if (word !== "null" && word !== "true" && word !== "false" && !isJsonNumber(word))
    throw malformed();
  return at;
}

const endsWord = (sign: number): boolean =>
  sign === comma || sign === closeBrace || sign === 0x20 || sign === 0x09 || sign === 0x0d;

/** Behind the first quote that an even number of backslashes precedes. */
function endOfString(text: string, from: number): number {
  for (let at = from; ;) {
    at = text.indexOf('"', at + 1);
    if (at < 0) throw malformed();
    let before = at - 1;
    while (text.charCodeAt(before) === backslash) before -= 1;
    if ((at - before) % 2 === 1) return at + 1;
  }
}

function endOfNested(text: string, from: number): number {
  let depth = 0;
  for (let at = from; at < text.length;) {
    const sign = text[at];
    if (sign === '"') {
      at = endOfString(text, at);
      continue;
    }
    if (sign === "{" || sign === "[") depth += 1;
    if (sign === "}" || sign === "]") depth -= 1;
    at += 1;
    if (depth === 0) {
      parse(text.slice(from, at));
      return at;
    }
  }
  throw malformed();
}

/** What JSON says with this text; its own message would quote it. */
export function parse(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    throw malformed();
  }
}

const malformed = () => refusedPage("a record is no JSON object; expected one on every line");

/**
 * JSON whose names are read right, whatever was read before: V8 takes a name that is written with an escape for one it knows
 * already, so that after `{"a":1,"b\\":2}` the name `"b\n"` of another text behind an `"a"` is `b\`
 * (https://github.com/nodejs/node/issues/63785). One row could rename members of others. Names without an escape are read
 * right, and so is every text that is no name: in a text with escapes in names others stand in for all of them.
 */

import { setMember } from "../transforms/documents.ts";

/** As `JSON.parse` takes it, with the text of a value, which TypeScript does not know yet. */
type Revive = (key: string, value: unknown, context: { readonly source?: string }) => unknown;

const json = JSON as unknown as {
  parse(text: string, revive?: Revive): unknown;
  isRawJSON(value: object): boolean;
};

/** `JSON.parse`. */
export function parseNames(text: string, revive?: Revive): unknown {
  if (!hasEscapedName(text)) return json.parse(text, revive);
  const names: string[] = [];
  const plain = replaceNames(text, (name) => `"${names.push(JSON.parse(name) as string) - 1}_"`);
  return json.parse(plain, (key, value, context) =>
    rename(revive ? revive(key, value, context) : value, names),
  );
}

/** One walk from escape to escape: most texts have none. */
function hasEscapedName(text: string): boolean {
  let quote = -1;
  for (let at = text.indexOf("\\"); at >= 0;) {
    at += 2;
    if (quote < at) quote = text.indexOf('"', at);
    if (quote < 0) return false;
    at = text.indexOf("\\", at);
    if ((at < 0 || at > quote) && isName(text, quote)) return true;
  }
  return false;
}

/** @param standIn gives the JSON of another name for the JSON of one */
function replaceNames(text: string, standIn: (name: string) => string): string {
  let replaced = "";
  let done = 0;
  for (let from = text.indexOf('"'), at = from; from >= 0; from = at = text.indexOf('"', at + 1)) {
    do at += text[at] === "\\" ? 2 : 1;
    while (at < text.length && text[at] !== '"');
    if (!isName(text, at)) continue;
    replaced += text.slice(done, from) + standIn(text.slice(from, at + 1));
    done = at + 1;
  }
  return replaced + text.slice(done);
}

/** Whether the string that ends with this quote is a name. */
function isName(text: string, quote: number): boolean {
  let at = quote + 1;
  while (" \t\n\r".includes(text[at] ?? ":")) at += 1;
  return text[at] === ":";
}

function rename(value: unknown, names: readonly string[]): unknown {
  if (typeof value !== "object" || value === null || Array.isArray(value)) return value;
  if (json.isRawJSON(value)) return value;
  const renamed: Record<string, unknown> = {};
  for (const [key, member] of Object.entries(value))
    setMember(renamed, names[Number.parseInt(key)]!, member);
  return renamed;
}

/**
 * A first look at YAML text, token by token, before anything is built from it.
 *
 * Refuses what a config never needs and an attacker does: a second document, directives, tags, control characters,
 * and more tokens, nesting or aliases than the limits below. What is left parses in well under a second.
 */
import { CST, Lexer } from "yaml";
import { escapeUnit } from "../problems.ts";

export interface Flaw {
  /** UTF-16 units from the start of the text. */
  readonly offset: number;
  readonly message: string;
}

export const limits = { characters: 2 ** 20, tokens: 20_000, depth: 64, aliases: 20 } as const;

// All but tab, line feed and carriage return of C0 and C1, as in the YAML 1.2 production c-printable, and byte order marks
// within the text, which nobody sees.
// oxlint-disable-next-line no-control-regex
const control = /[\0-\u0008\u000b\u000c\u000e-\u001f\u007f-\u0084\u0086-\u009f\ufeff]/;
const silent = new Set(["space", "newline", "comment", "comma", "map-value-ind"]);

export const tooLarge = "the file is larger than 1 MiB; expected the few kilobytes a pipeline has";

export const hasControls = (text: string): boolean => control.test(text);

/** Control characters as double quotes want them, in a text that has them nowhere else. */
export const escapeControls = (text: string): string =>
  text.replace(new RegExp(control, "g"), escapeUnit);

/** The first flaw of the text, if it has one. Reads no further than the limits. */
export function findFlaw(text: string): Flaw | undefined {
  if (text.length > limits.characters) return { offset: 0, message: tooLarge };
  const offset = text.search(control);
  if (offset >= 0)
    return { offset, message: "control character; expected a text file, escapes in double quotes" };
  return scanTokens(text);
}

function scanTokens(text: string): Flaw | undefined {
  const depth = createDepth();
  const seen = { tokens: 0, aliases: 0, documents: 0, content: false };
  let offset = 0;
  let isScalar = false;
  for (const source of new Lexer().lex(text)) {
    const type: string | null = isScalar ? "scalar" : CST.tokenType(source);
    isScalar = type === "scalar" && source === CST.SCALAR;
    if (type === "flow-error-end") depth.leaveFlow();
    if (isScalar || type === "flow-error-end") continue;
    if (type === "doc-mode") {
      seen.documents += 1;
      if (seen.documents > 1) return { offset, message: secondDocument };
      continue;
    }
    seen.tokens += 1;
    const message = refuse(type, seen) ?? depth.enter(type, source);
    if (message !== undefined) return { offset, message };
    offset += source.length;
  }
  return undefined;
}

const secondDocument = "a second document starts here; expected one pipeline per file";

function refuse(
  type: string | null,
  seen: { tokens: number; aliases: number; content: boolean },
): string | undefined {
  if (seen.tokens > limits.tokens)
    return `more than ${limits.tokens} YAML tokens; expected the few hundred a pipeline has`;
  if (type === "directive-line") return "directives (%YAML, %TAG) are not accepted";
  if (type === "tag") return "tags (!…) are not accepted; expected plain YAML 1.2 values";
  if (type === "doc-start" && seen.content) return secondDocument;
  if (type === "alias") seen.aliases += 1;
  if (seen.aliases > limits.aliases)
    return `more than ${limits.aliases} aliases (*…); write the values out`;
  seen.content ||= type === "doc-start" || !silent.has(type ?? "scalar");
  return undefined;
}

const flowStarts = new Set<string | null>(["flow-seq-start", "flow-map-start"]);
const flowEnds = new Set<string | null>(["flow-seq-end", "flow-map-end"]);

/**
 * Nesting by brackets, by values of values between them (`{ a: b: c }`), and by indentation: a column further right than
 * the one before opens a level.
 */
function createDepth() {
  const columns: number[] = [];
  let flow = 0;
  let values = 0;
  let column = 0;
  return {
    /** The brackets that are open are given up by the parser too. */
    leaveFlow() {
      flow = 0;
      values = 0;
    },
    enter(type: string | null, source: string): string | undefined {
      if (flowStarts.has(type)) flow += 1;
      if (flowEnds.has(type)) flow = Math.max(0, flow - 1);
      if (flow === 0 || type === "comma" || flowStarts.has(type)) values = 0;
      else if (type === "map-value-ind") values += 1;
      if (flow === 0 && !silent.has(type ?? "scalar")) {
        while ((columns.at(-1) ?? -1) >= column) columns.pop();
        columns.push(column);
      }
      const lineEnd = source.lastIndexOf("\n");
      column = lineEnd < 0 ? column + source.length : source.length - lineEnd - 1;
      return columns.length + flow + values > limits.depth
        ? `nested more than ${limits.depth} levels deep`
        : undefined;
    },
  };
}

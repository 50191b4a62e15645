/**
 * References: `${env:NAME}`, `${env:NAME:-default}` and `${file:path}` in the texts of a spec; `$${` is a plain `${`.
 *
 * They are how secrets reach a run without standing in the file. Messages name the variable or the file, never what it
 * holds. Here they are found; `resolve-references.ts` asks what they give.
 */
import { problemsError, type Path, type Problem } from "./problems.ts";

export interface Reference {
  readonly kind: "env" | "file";
  /** Name of the variable, or the path as written. */
  readonly name: string;
  /** What stands for a variable that is unset or empty. */
  readonly fallback?: string;
}

export interface FoundReference extends Reference {
  readonly path: Path;
}

/** What the spec's schema says of the place a reference stands at. */
export interface FieldFacts {
  readonly isSecret: boolean;
  /** Texts stay texts; elsewhere `4096` and `true` become what they look like. */
  readonly isText: boolean;
  /** A variable that is not set means the setting is not there, as OpenTelemetry's own variables do. */
  readonly mayBeUnset?: boolean;
}

export type Part = string | Reference | { readonly kind: "wrong"; readonly message: string };

const known =
  "known are ${env:NAME}, ${env:NAME:-default} and ${file:path}; write $${ for a plain ${";
const secretNames = new Set(["sign", "passphrase", "identity"]);
const maxDepth = 100;

/** Every reference of a spec, in the order of the file. */
export function findReferences(spec: unknown): FoundReference[] {
  return [...walkTexts(spec)].flatMap(({ path, text }) =>
    splitText(text).flatMap((part) => (isReference(part) ? [{ ...part, path }] : [])),
  );
}

/** Texts that look like a reference and are none. */
export function findReferenceProblems(spec: unknown): Problem[] {
  return [...walkTexts(spec)].flatMap(({ path, text }) =>
    splitText(text).flatMap((part) =>
      typeof part !== "string" && part.kind === "wrong" ? [{ path, message: part.message }] : [],
    ),
  );
}

/** Whether a text holds a reference: `whole` when it is nothing else. */
export function measureReference(text: string): "none" | "part" | "whole" {
  const parts = splitText(text);
  if (!parts.some(isReference)) return "none";
  return parts.length === 1 ? "whole" : "part";
}

/** What of a text stands in the file itself: its references taken away, but for the defaults they are given. */
export function withoutReferences(text: string): string {
  return splitText(text)
    .map((part) =>
      typeof part === "string" ? part : isReference(part) ? (part.fallback ?? "") : "",
    )
    .join("");
}

/** Names of settings that are secrets wherever they stand, in a stage of one's own too. */
export const isSecretName = (name: unknown): boolean => secretNames.has(String(name));

/** A text as what stands in it plainly and what refers, in order. */
export function splitText(text: string): Part[] {
  const parts: Part[] = [];
  // Asked once: many openings that nothing closes would each be searched to the end of the text.
  const lastClose = text.lastIndexOf("}");
  let end = 0;
  for (let at = text.indexOf("${"); at !== -1; at = text.indexOf("${", end)) {
    const isPlain = at > end && text[at - 1] === "$";
    const start = isPlain ? at - 1 : at;
    if (start > end) parts.push(text.slice(end, start));
    const close = isPlain || at > lastClose ? -1 : text.indexOf("}", at);
    parts.push(
      isPlain ? "${" : parseReference(close === -1 ? undefined : text.slice(at + 2, close)),
    );
    end = close === -1 ? at + 2 : close + 1;
  }
  if (end < text.length) parts.push(text.slice(end));
  return parts;
}

function parseReference(body: string | undefined): Part {
  if (body === undefined)
    return { kind: "wrong", message: `a reference \${ without its }; ${known}` };
  const env = /^env:([A-Za-z_][A-Za-z0-9_]*)(?::-(.*))?$/s.exec(body);
  if (env) {
    const [, name = "", fallback] = env;
    return { kind: "env", name, ...(fallback !== undefined && { fallback }) };
  }
  const path = /^file:(.+)$/s.exec(body)?.[1];
  if (path !== undefined && !path.includes("\0")) return { kind: "file", name: path };
  return { kind: "wrong", message: `unknown reference; ${known}` };
}

export function isReference(part: Part): part is Reference {
  return typeof part !== "string" && part.kind !== "wrong";
}

/** Plain objects only: a function or a stream given in code is a value of its own. */
export function isMapping(value: unknown): value is Readonly<Record<string, unknown>> {
  if (typeof value !== "object" || value === null) return false;
  const prototype: unknown = Object.getPrototypeOf(value);
  return prototype === Object.prototype || prototype === null;
}

/** Every text of a spec with its place, in the order of the file. */
export function* walkTexts(
  value: unknown,
  path: Path = [],
): Generator<{ path: Path; text: string }> {
  if (path.length > maxDepth)
    throw problemsError([{ path: path.slice(0, 3), message: "nested too deep" }]);
  if (typeof value === "string") yield { path, text: value };
  else if (Array.isArray(value))
    for (const [index, item] of value.entries()) yield* walkTexts(item, [...path, index]);
  else if (isMapping(value))
    for (const [key, item] of Object.entries(value)) yield* walkTexts(item, [...path, key]);
}

/**
 * References: `${env:NAME}`, `${env:NAME:-default}` and `${file:path}` in the texts of a spec; `$${` is a plain `${`.
 *
 * They are how secrets reach a run without standing in the file. Messages name the variable or the file, never what it
 * holds; what a reference gives is not searched for references again.
 */
import { constants } from "node:fs";
import { open } from "node:fs/promises";
import { resolve } from "node:path";
import { PipelineError, systemCode } from "../errors.ts";
import {
  printFile,
  problemsError,
  quote,
  type Locate,
  type Path,
  type Problem,
} from "./problems.ts";

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

export interface ResolveOptions {
  readonly env: Readonly<Record<string, string | undefined>>;
  /** Where relative `${file:…}` paths start. */
  readonly baseDir: string;
  readonly field?: (path: Path) => FieldFacts;
  readonly locate?: Locate;
}

type Part = string | Reference | { readonly kind: "wrong"; readonly message: string };

const known =
  "known are ${env:NAME}, ${env:NAME:-default} and ${file:path}; write $${ for a plain ${";
const secretNames = new Set(["sign", "passphrase", "identity"]);
const maxFileBytes = 2 ** 20;
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

/**
 * A copy of `value` with every reference replaced. A setting that is nothing but a reference with an empty default
 * (`${env:NAME:-}`) is left out when the variable is unset, unless it is a secret.
 * @throws PipelineError `config-invalid` naming every variable or file that is missing, empty or open to others.
 */
export async function resolveReferences<T>(value: T, options: ResolveOptions): Promise<T> {
  const problems: Problem[] = findReferenceProblems(value);
  const resolved = await resolveValue(value, [], options, problems);
  if (problems.length > 0) throw problemsError(problems, options.locate);
  return resolved as T;
}

function splitText(text: string): Part[] {
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

function isReference(part: Part): part is Reference {
  return typeof part !== "string" && part.kind !== "wrong";
}

function isPlainObject(value: unknown): value is Record<string, unknown> {
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
  else if (isPlainObject(value))
    for (const [key, item] of Object.entries(value)) yield* walkTexts(item, [...path, key]);
}

async function resolveValue(
  value: unknown,
  path: Path,
  options: ResolveOptions,
  problems: Problem[],
): Promise<unknown> {
  if (typeof value === "string") return resolveText(value, path, options, problems);
  if (Array.isArray(value))
    return Promise.all(
      value.map((item, index) => resolveValue(item, [...path, index], options, problems)),
    );
  if (!isPlainObject(value)) return value;
  const entries = await Promise.all(
    Object.entries(value).map(async ([key, item]) => {
      const resolved = await resolveValue(item, [...path, key], options, problems);
      const isKept = resolved !== "" || !mayBeLeftOut(item, [...path, key], options);
      return isKept ? [[key, resolved] as const] : [];
    }),
  );
  return Object.fromEntries(entries.flat());
}

/** A setting with an empty default; a stage itself (`stages`, its index, its name) never is one, nor is a secret. */
function mayBeLeftOut(written: unknown, path: Path, options: ResolveOptions): boolean {
  if (typeof written !== "string" || measureReference(written) !== "whole") return false;
  return !(path.length === 3 && path[0] === "stages") && !fieldAt(path, options).isSecret;
}

function fieldAt(path: Path, options: ResolveOptions): FieldFacts {
  const facts = options.field?.(path) ?? { isSecret: false, isText: true };
  const name = path.findLast((part) => typeof part === "string");
  return { ...facts, isSecret: facts.isSecret || isSecretName(name) };
}

async function resolveText(
  text: string,
  path: Path,
  options: ResolveOptions,
  problems: Problem[],
): Promise<unknown> {
  const parts = splitText(text);
  const field = fieldAt(path, options);
  const texts = await Promise.all(
    parts.map(async (part) => {
      if (!isReference(part)) return typeof part === "string" ? part : "";
      const found = await lookUp(part, field, options);
      if (typeof found !== "string") problems.push({ path, message: found.problem });
      return typeof found === "string" ? found : "";
    }),
  );
  const resolved = texts.join("");
  return parts.length === 1 && !field.isText ? readScalar(resolved) : resolved;
}

function readScalar(text: string): unknown {
  if (text === "true" || text === "false") return text === "true";
  return /^-?\d{1,15}(?:\.\d+)?$/.test(text) ? Number(text) : text;
}

type Found = string | { readonly problem: string };

async function lookUp(
  reference: Reference,
  field: FieldFacts,
  { env, baseDir }: ResolveOptions,
): Promise<Found> {
  if (reference.kind === "file")
    return readReferenced(resolve(baseDir, reference.name), reference.name, field.isSecret);
  const { name, fallback } = reference;
  const value = Object.hasOwn(env, name) ? env[name] : undefined;
  if (value) return value;
  if (fallback !== undefined) return fallback;
  if (field.mayBeUnset) return "";
  const state = value === undefined ? "not set" : "empty";
  const remedy = `set it or give a default: \${env:${name}:-…}`;
  return { problem: `the environment variable ${name} is ${state}; ${remedy}` };
}

async function readReferenced(file: string, name: string, isSecret: boolean): Promise<Found> {
  try {
    // A named pipe without a writer must not hang the open.
    await using handle = await open(file, constants.O_RDONLY | constants.O_NONBLOCK);
    const stat = await handle.stat();
    if (!stat.isFile()) return { problem: `${quote(name)} is not a file` };
    if (isSecret && (stat.mode & 0o077) !== 0)
      return {
        problem: `${quote(name)} holds a secret others can read; run: chmod 600 ${printFile(file)}`,
      };
    if (stat.size > maxFileBytes) return { problem: `${quote(name)} is larger than 1 MiB` };
    const bytes = await handle.readFile();
    const text = new TextDecoder("utf-8", { fatal: true }).decode(bytes).replace(/\r?\n$/, "");
    return text === "" ? { problem: `the file ${quote(name)} is empty` } : text;
  } catch (error) {
    if (error instanceof PipelineError) throw error;
    if (error instanceof TypeError) return { problem: `${quote(name)} is not UTF-8 text` };
    const reason = systemCode(error);
    if (reason === "ENOENT")
      return { problem: `there is no file ${quote(name)} (${printFile(file)})` };
    return { problem: `${quote(name)} cannot be read (${reason ?? "unknown reason"})` };
  }
}

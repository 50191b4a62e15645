/** What references give: variables of the environment and contents of files, which are not searched for references again. */
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
import {
  findReferenceProblems,
  isMapping,
  isReference,
  isSecretName,
  measureReference,
  splitText,
  type FieldFacts,
  type Reference,
} from "./references.ts";
import { withFile, withoutWaiting } from "./with-file.ts";

export interface ResolveOptions {
  readonly env: Readonly<Record<string, string | undefined>>;
  /** Where relative `${file:…}` paths start. */
  readonly baseDir: string;
  readonly field?: (path: Path) => FieldFacts;
  /** What else is wrong with the value: told together with what is missing. */
  readonly others?: () => readonly Problem[];
  readonly locate?: Locate;
}

const maxFileBytes = 2 ** 20;

/**
 * A copy of `value` with every reference replaced. A setting that is nothing but a reference with an empty default
 * (`${env:NAME:-}`) is left out when the variable is unset, unless it is a secret.
 * @throws PipelineError `config-invalid` naming every variable or file that is missing, empty or open to others.
 */
export async function resolveReferences<T>(value: T, options: ResolveOptions): Promise<T> {
  const problems: Problem[] = findReferenceProblems(value);
  const resolved = await resolveValue(value, [], options, problems);
  if (problems.length > 0) {
    throw problemsError([...problems, ...(options.others?.() ?? [])], options.locate);
  }
  return resolved as T;
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
  if (!isMapping(value)) return value;
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
    return await withFile(file, withoutWaiting, async (handle) => {
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
    });
  } catch (error) {
    if (error instanceof PipelineError) throw error;
    if (error instanceof TypeError) return { problem: `${quote(name)} is not UTF-8 text` };
    const reason = systemCode(error);
    if (reason === "ENOENT")
      return { problem: `there is no file ${quote(name)} (${printFile(file)})` };
    return { problem: `${quote(name)} cannot be read (${reason ?? "unknown reason"})` };
  }
}

/**
 * A value against its schema, with every problem in plain words at the place it stands.
 *
 * Valibot decides; here its issues are told to people: unknown keys all at once and with the key that was meant,
 * missing keys with what they are for, and never a value.
 */
import * as v from "valibot";
import { duration, size, sizeUnits, timeUnits } from "../stages/atoms.ts";
import { isBelow, quote, type Path, type Problem } from "./problems.ts";
import { isMapping, measureReference } from "./references.ts";
import {
  findDescription,
  findKeys,
  findOptions,
  findSchemas,
  isScalar,
  isText,
} from "./schema-walk.ts";
import { suggestion } from "./suggest.ts";

/** `none`: references are still texts and stand for whatever their field takes; `full`: there are none left. */
export type Resolved = "none" | "full";

export interface Checked {
  /** Defaults filled in. Fields of `unresolved` hold the reference's text, whatever their type. */
  readonly output: unknown;
  readonly problems: readonly Problem[];
  /** Where a reference stands that could not be checked. */
  readonly unresolved: readonly Path[];
}

type Schema = v.GenericSchema;
type Issue = v.BaseIssue<unknown>;

/** Checks `value`, which stands at `base` in the spec, against `schema`. */
export function checkConfig(schema: Schema, value: unknown, base: Path, mode: Resolved): Checked {
  const problems: Problem[] = [];
  const unresolved: Path[] = [];
  const known = dropUnknown(findSchemas([schema], []), value, base, problems);
  const lists = problems.filter(({ at }) => at !== "key").map(({ path }) => path);
  const result = v.safeParse(schema, known, { abortPipeEarly: true, message: sayExpected });
  for (const issue of flattenIssues(result.issues ?? [])) {
    const path = [...base, ...issue.path];
    if (mode === "none" && isExcused(schema, issue)) unresolved.push(path);
    else if (!lists.some((list) => isBelow(path, list)))
      problems.push(explain(schema, issue, path));
  }
  return { output: result.output, problems, unresolved };
}

/** Keys that valibot leaves out of a record without a word. */
const left: ReadonlySet<string> = new Set(["__proto__", "prototype", "constructor"]);

/** A copy without the keys no schema knows; each is a problem, and so is a list where a mapping belongs. */
function dropUnknown(
  schemas: readonly Schema[],
  value: unknown,
  path: Path,
  problems: Problem[],
): unknown {
  if (Array.isArray(value)) {
    // To valibot a list is an object like any other.
    const types = typesOf(schemas);
    if (types.has("a mapping") && !types.has("a list"))
      problems.push({ path, message: "expected a mapping, found a list" });
    return value.map((item, index) =>
      dropUnknown(findSchemas(schemas, [index]), item, [...path, index], problems),
    );
  }
  if (!isMapping(value)) return value;
  const keys = findKeys(schemas);
  const isRecord = schemas.some(({ type }) => type === "record");
  const entries = Object.entries(value).flatMap(([key, item]) => {
    const below = [...path, key];
    const inside = findSchemas(schemas, [key]);
    // A stage's name is known or unknown to whoever knows stages.
    if (isRecord && left.has(key) && !inside.some(({ type }) => type === "unknown")) {
      const message = `a key here cannot be named ${quote(key)}; use another name`;
      problems.push({ path: below, at: "key", message });
      return [];
    }
    if (keys && !keys.includes(key)) {
      const hint = suggestion(key, keys) || `; known keys are ${keys.join(", ")}`;
      problems.push({ path: below, at: "key", message: `unknown key ${quote(key)}${hint}` });
      return [];
    }
    return [[key, dropUnknown(inside, item, below, problems)] as const];
  });
  return Object.fromEntries(entries);
}

interface FlatIssue {
  readonly issue: Issue;
  readonly path: Path;
}

/** A union says "none of these fits"; where one of its members got further than a key's name, that is told instead. */
function flattenIssues(issues: readonly Issue[], base: Path = []): FlatIssue[] {
  return issues.flatMap((issue) => {
    const path = [...base, ...pathOf(issue)];
    const below = issue.issues ? flattenIssues(issue.issues, path) : [];
    const deeper = below.filter(
      (flat) => flat.path.length > path.length && !isKeyIssue(flat.issue),
    );
    return deeper.length > 0 ? deeper : [{ issue, path }];
  });
}

const pathOf = (issue: Issue): Path =>
  (issue.path ?? []).map((item) => item.key as string | number);

const isKeyIssue = (issue: Issue) => issue.path?.at(-1)?.origin === "key";

function isExcused(schema: Schema, { issue, path }: FlatIssue): boolean {
  if (typeof issue.input !== "string" || isKeyIssue(issue)) return false;
  const fields = findSchemas([schema], path);
  const measure = measureReference(issue.input);
  return measure === "whole" ? isScalar(fields) : measure === "part" && isText(fields);
}

function explain(schema: Schema, { issue, path: place }: FlatIssue, path: Path): Problem {
  if (isKeyIssue(issue)) return explainKey(schema, issue, place, path);
  const fields = findSchemas([schema], place);
  const found = describeType(issue.input);
  const isOther = issue.kind === "schema" && !typesOf(fields).has(found);
  const hint = typeof issue.input === "string" ? hintFor(fields, issue.input) : "";
  return { path, message: `${issue.message}${isOther ? `, found ${found}` : ""}${hint}` };
}

function explainKey(schema: Schema, issue: Issue, place: Path, path: Path): Problem {
  const key = quote(String(path.at(-1)));
  if (issue.expected === "never")
    return { path, at: "key", message: `the key ${key} does not go with the other keys here` };
  const purpose = findDescription(findSchemas([schema], place));
  return {
    path: path.slice(0, -1),
    message: `missing key ${key}${purpose === undefined ? "" : `: ${purpose}`}`,
  };
}

/** Names of options and units only: what stands in the file may be a secret in the wrong place. */
function hintFor(fields: readonly Schema[], text: string): string {
  const options = findOptions(fields);
  if (options.length > 0) return suggestion(text, options);
  const units = fields.includes(size)
    ? Object.keys(sizeUnits)
    : fields.includes(duration)
      ? Object.keys(timeUnits)
      : [];
  const typed = /^\d+(?:\.\d+)?\s*([A-Za-z]+)$/.exec(text.trim())?.[1]?.toLowerCase();
  if (typed === undefined || units.includes(typed)) return "";
  const meant =
    units.find((unit) => unit.toLowerCase() === typed) ??
    units.findLast((unit) => unit.toLowerCase().startsWith(typed)) ??
    units.findLast((unit) => typed.startsWith(unit.toLowerCase()));
  return meant === undefined ? "" : `; did you mean the unit "${meant}"?`;
}

const words: Readonly<Record<string, string>> = {
  string: "a text",
  number: "a number",
  boolean: "true or false",
  Array: "a list",
  Object: "a mapping",
};

/** What was expected, for schemas that do not say it themselves. */
function sayExpected(issue: Issue): string {
  const expected = (issue.expected ?? "something else")
    .replace(/^\(|\)$/g, "")
    .split(" | ")
    .map((word) => words[word] ?? word.replace(/^"|"$/g, ""));
  return `expected ${[...new Set(expected)].join(" or ")}`;
}

const typeWords: Readonly<Record<string, readonly string[]>> = {
  string: ["a text"],
  picklist: ["a text"],
  literal: ["a text"],
  number: ["a number"],
  boolean: ["true or false"],
  array: ["a list"],
  strict_object: ["a mapping"],
  record: ["a mapping"],
};

function typesOf(fields: readonly Schema[]): Set<string> {
  return new Set(
    fields.flatMap((field) =>
      field === size || field === duration ? ["a text", "a number"] : (typeWords[field.type] ?? []),
    ),
  );
}

function describeType(value: unknown): string {
  if (value === null || value === undefined) return "nothing";
  if (Array.isArray(value)) return "a list";
  if (typeof value === "object") return "a mapping";
  if (typeof value === "boolean") return "true or false";
  return typeof value === "number" ? "a number" : "a text";
}

/**
 * What is wrong with a config, collected and told at once: `file:line:column: path: what was expected`.
 * Messages name keys and types; they never repeat a value, which may be a secret.
 */
import { PipelineError } from "../errors.ts";

/** Where something stands in a spec: `["stages", 2, "chunk", "size"]`. */
export type Path = readonly (string | number)[];

export interface Place {
  readonly file: string;
  /** Counts from 1. */
  readonly line: number;
  /** Counts from 1, in UTF-16 units, as editors do. */
  readonly column: number;
}

/** Finds a path in the text it was read from; a path that is not there is found at its nearest ancestor. */
export type Locate = (path: Path, at?: "key" | "value") => Place;

export interface Problem {
  readonly path: Path;
  /** Points at the key where the key is what is wrong; at the value otherwise. */
  readonly at?: "key" | "value";
  readonly message: string;
}

const maxProblems = 10;
const maxQuoted = 40;

/** A name for a message: quoted, control characters escaped, cut short. */
export const quote = (name: string): string =>
  escaped(name.length > maxQuoted ? `${name.slice(0, maxQuoted)}…` : name);

/** A path for a message, whole and with its control characters escaped. */
export const printFile = (path: string): string => escaped(path).slice(1, -1);

/** As JSON writes it, with what JSON leaves as it is although a terminal obeys it or nobody sees it. */
const escaped = (text: string): string =>
  JSON.stringify(text).replace(
    /[\u007f-\u009f\u200b-\u200f\u2028-\u202e\u2060-\u2069\ufeff]/g,
    escapeUnit,
  );

/** One UTF-16 unit as JSON and YAML escape it. */
export const escapeUnit = (unit: string): string =>
  `\\u${unit.charCodeAt(0).toString(16).padStart(4, "0")}`;

/** `stages[2].chunk.size`; keys that are no plain words stand in brackets. */
function printPath(path: Path): string {
  let printed = "";
  for (const part of path) {
    if (typeof part === "number") printed += `[${part}]`;
    else if (!/^[A-Za-z_][\w-]*$/.test(part) || part.length > maxQuoted)
      printed += `[${quote(part)}]`;
    else printed += printed === "" ? part : `.${part}`;
  }
  return printed;
}

/** True when `path` is `above` or within it. */
export const isBelow = (path: Path, above: Path): boolean =>
  above.every((part, index) => part === path[index]);

export function printPlace(place: Place): string {
  return `${place.file}:${place.line}:${place.column}`;
}

/** One error for all problems: one a line, by position, at most ten. */
export function problemsError(problems: readonly Problem[], locate?: Locate): PipelineError {
  const located = problems.map((problem) => ({
    problem,
    place: locate?.(problem.path, problem.at),
  }));
  located.sort((a, b) => compare(a.place, b.place));
  const lines = new Set(
    located.map(({ problem, place }) =>
      [place && printPlace(place), printPath(problem.path), problem.message]
        .filter(Boolean)
        .join(": "),
    ),
  );
  return refusal([...lines], located[0]?.place);
}

/** The `config-invalid` error that carries these lines. */
export function refusal(lines: readonly string[], first: Place | undefined): PipelineError {
  const shown = lines.slice(0, maxProblems);
  const rest = lines.length - shown.length;
  if (rest > 0) shown.push(`… and ${rest} more ${rest === 1 ? "problem" : "problems"}`);
  return new PipelineError("config-invalid", shown.join("\n"), {
    details: { problems: lines.length, ...first },
  });
}

function compare(a: Place | undefined, b: Place | undefined): number {
  if (!a || !b) return 0;
  return a.line - b.line || a.column - b.column;
}

/**
 * What DuckDB complains about, in our words. Its messages quote values, names and pieces of the query, so only the kind of error,
 * which they begin with, ever leaves here; the original is not even kept as `cause`.
 */
import { type ErrorCode, PipelineError } from "../../errors.ts";
import { afterRows } from "./after-rows.ts";

/** What is said of each kind; what is not here is the query's fault. */
const said: Readonly<Record<string, readonly [code: ErrorCode, what: string]>> = {
  "Out of Memory": [
    "source-refused",
    "the query needs more than `memoryLimit`, and nothing is written to disk instead; raise it, and `memory` with it, or sort, group and join less",
  ],
  "Missing Extension": [
    "source-refused",
    "the query needs an extension of DuckDB; expected one that does without: none is fetched or loaded, and nothing read over the network",
  ],
  Conversion: [
    "source-bad-data",
    "a value cannot be converted as the query asks; expected one that can, or `try_cast`",
  ],
  IO: ["source-failed", "a file could not be read; try again"],
  Serialization: ["source-bad-data", "a file is damaged"],
  FATAL: ["source-failed", "the engine failed; try again"],
  INTERNAL: ["source-failed", "the engine failed; try again"],
};

const refused = [
  "source-refused",
  "the query is refused; expected one SELECT that DuckDB runs read-only",
] as const;

/** Where the message says more than its kind. */
const recognized: readonly (readonly [sign: RegExp, code: ErrorCode, what: string])[] = [
  [
    /^IO Error: Could not set lock on file/,
    "source-failed",
    "another program writes to the database; try again when it is closed there",
  ],
  [/^IO Error: No files found/, "input-missing", "the query reads files that do not exist"],
  [/is not a valid DuckDB database file/, "source-bad-data", "not a DuckDB database"],
  [
    /in the [\w-]+ extension/,
    "source-refused",
    "the query needs an extension of DuckDB; expected one that does without: none is fetched or loaded",
  ],
];

/** Turns whatever DuckDB threw into a PipelineError; ours, and bugs, pass unchanged. */
export function explain(error: unknown, place: string): unknown {
  if (!(error instanceof Error) || Object.getPrototypeOf(error) !== Error.prototype) return error;
  const kind = kindOfMessage(error.message);
  const known = recognized.find(([sign]) => sign.test(error.message));
  const [code, what] = known ? [known[1], known[2]] : (said[kind] ?? refused);
  const details = { duckdb: kind };
  return new PipelineError(code, `${place}: ${what} (DuckDB: ${kind})`, { details });
}

/** `Binder` of `Binder Error: …`, and `unknown` where DuckDB does not say. */
export function kindOfMessage(message: string): string {
  return (
    /^(?:Failed to extract statements: )?([A-Z][A-Za-z ]{1,30}) Error: /.exec(message)?.[1] ??
    "unknown"
  );
}

/** Past the first rows DuckDB ends a query that fails like one that is at its end. */
export function hiddenFailure(place: string, rows: number): PipelineError {
  return new PipelineError(
    "source-refused",
    `${place}: the query failed${afterRows(rows)}, and DuckDB does not say why; expected it to run to its end: ` +
      "look for values that cannot be converted (`try_cast`), damaged files, or a `memoryLimit` that is too small",
    { details: { rows } },
  );
}

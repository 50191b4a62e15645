/**
 * what    keeps the rows that a condition, or a user's own predicate, holds for
 * takes   rows · gives rows
 * holds   a few batches
 * order   kept
 * ends    with its input
 * fails   config-invalid (module) · transform-failed (no such column, the predicate threw)
 */
import * as v from "valibot";
import { text } from "../atoms.ts";
import { PipelineError } from "../../errors.ts";
import type { Row } from "../nouns.ts";
import { defineTransform } from "./define-transform.ts";
import { textOf } from "./documents.ts";
import { loadRowWork } from "./load-module.ts";
import { rowModule } from "./map.ts";
import { isDropped, isOneFunction, isThenable, type RowFunction } from "./row-functions.ts";
import type { RowWork } from "./row-work.ts";

const operand = v.union(
  [v.string(), v.number(), v.boolean()],
  "expected a text, number or boolean",
);

export const filter = defineTransform({
  name: "filter",
  summary: "Keeps the rows that a condition or your own predicate holds for.",
  config: v.union(
    [
      v.strictObject({
        module: v.pipe(
          rowModule,
          v.description(
            "module whose default export tells whether to keep a row; relative to the YAML file",
          ),
        ),
      }),
      v.strictObject({
        column: v.pipe(text, v.description("the column the condition is about")),
        equals: v.pipe(
          v.union([operand, v.null()]),
          v.description("keep rows whose value, as text, is this; null for NULL"),
        ),
      }),
      v.strictObject({
        column: v.pipe(text, v.description("the column the condition is about")),
        in: v.pipe(
          v.array(operand),
          v.description("keep rows whose value, as text, is one of these"),
        ),
      }),
      v.strictObject({
        column: v.pipe(text, v.description("the column the condition is about")),
        not: v.pipe(
          v.union([operand, v.null()]),
          v.description("keep rows whose value, as text, is not this; null keeps what is not NULL"),
        ),
      }),
    ],
    "expected `module`, or `column` with one of `equals`, `in`, `not`",
  ),
  shorthand: "module",
  async work(config) {
    if ("module" in config) return keepWhere(await loadRowWork(config.module, "filter"));
    const { column, wanted, negated } = conditionOf(config);
    const texts = new Set(wanted);
    return (row) => {
      if (!Object.hasOwn(row, column)) throw nothingToFilter(column);
      return texts.has(textOf(row[column])) === negated ? null : row;
    };
  },
});

export const nothingToFilter = (column: string): PipelineError =>
  new PipelineError("transform-failed", `filter: there is no column ${JSON.stringify(column)}`);

/** A condition in its one form: rows are kept whose value, as text or null, is wanted; or is not, when negated. */
export interface Condition {
  readonly column: string;
  readonly wanted: readonly (string | null)[];
  readonly negated: boolean;
}

type Operand = string | number | boolean | null;
type WrittenCondition = { readonly column: string } & (
  { readonly equals: Operand } | { readonly in: readonly Operand[] } | { readonly not: Operand }
);

export function conditionOf(config: WrittenCondition): Condition {
  const { column } = config;
  const negated = "not" in config;
  const operands = "in" in config ? config.in : [negated ? config.not : config.equals];
  const wanted = operands.map((operand) => (operand === null ? null : String(operand)));
  return { column, wanted, negated };
}

/** A predicate becomes row work; a generator, a Transform, a chain and functions that were fused already are. */
function keepWhere(work: RowWork): RowWork {
  if (!isOneFunction(work)) return work;
  const predicate: RowFunction = work;
  return (row: Row) => {
    const keep = (answer: unknown) => (answer && !isDropped(answer) ? row : null);
    const answer = predicate(row);
    return isThenable(answer) ? answer.then(keep) : keep(answer);
  };
}

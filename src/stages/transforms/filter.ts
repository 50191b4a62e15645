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
import { loadRowWork } from "./load-module.ts";
import { rowModule } from "./map.ts";
import type { RowFunction, RowWork } from "./row-work.ts";

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
    const holds = condition(config);
    return (row) => {
      if (!Object.hasOwn(row, config.column)) {
        throw new PipelineError(
          "transform-failed",
          `filter: there is no column ${JSON.stringify(config.column)}`,
        );
      }
      return holds(row[config.column]) ? row : null;
    };
  },
});

type Condition = { equals: Operand | null } | { in: readonly Operand[] } | { not: Operand | null };
type Operand = string | number | boolean;

function condition(config: Condition): (value: unknown) => boolean {
  const same = (value: unknown, wanted: Operand | null) =>
    wanted === null
      ? value === null || value === undefined
      : value !== null && value !== undefined && textOf(value) === String(wanted);
  if ("equals" in config) return (value) => same(value, config.equals);
  if ("in" in config) return (value) => config.in.some((wanted) => same(value, wanted));
  return (value) => !same(value, config.not);
}

/** Numbers that JavaScript would change are held as raw JSON; their text is what was read. */
const textOf = (value: unknown): string =>
  typeof value === "string" ? value : (JSON.stringify(value) ?? "");

/** A predicate becomes row work; a Transform or chain already is. */
function keepWhere(work: RowWork): RowWork {
  if (typeof work !== "function" || work.constructor.name.endsWith("GeneratorFunction"))
    return work;
  const predicate: RowFunction = work;
  return (row: Row) => {
    const kept = predicate(row);
    return kept instanceof Promise ? kept.then((keep) => (keep ? row : null)) : kept ? row : null;
  };
}

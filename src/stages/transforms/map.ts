/**
 * what    changes rows with a user's own work: a function, a generator, a Transform or a stream-chain chain
 * takes   rows · gives rows
 * holds   a few batches, and what the user's work holds
 * order   kept
 * ends    with its input, after the work's own flush
 * fails   config-invalid (module) · transform-failed (the work threw, or gave no row)
 */
import * as v from "valibot";
import { text } from "../atoms.ts";
import { defineTransform } from "./define-transform.ts";
import { loadRowWork } from "./load-module.ts";
import { isRowWork, type RowWork } from "./row-work.ts";

/** A path in YAML; in code the work itself will do. */
export const rowModule = v.union(
  [text, v.custom<RowWork>(isRowWork)],
  "expected the path of a module, or (in code) a function, Transform or chain",
);

export const map = defineTransform({
  name: "map",
  summary:
    "Changes, drops or multiplies rows with your own function, generator, Transform or chain.",
  config: v.strictObject({
    module: v.pipe(
      rowModule,
      v.description("module whose default export is the work; a path relative to the YAML file"),
    ),
  }),
  shorthand: "module",
  work: ({ module }) => loadRowWork(module, "map"),
});

/**
 * what    keeps the named columns, in the order they are named
 * takes   rows · gives rows
 * holds   a few batches
 * order   kept
 * ends    with its input
 * fails   transform-failed (a named column is not there)
 */
import * as v from "valibot";
import { text } from "../atoms.ts";
import { PipelineError } from "../../errors.ts";
import type { Row } from "../nouns.ts";
import { setMember } from "./documents.ts";
import { defineTransform } from "./define-transform.ts";

export const select = defineTransform({
  name: "select",
  summary: "Keeps the named columns, in the order they are named.",
  config: v.strictObject({
    columns: v.pipe(
      v.array(text, "expected a list of column names"),
      v.minLength(1, "expected at least one column"),
      v.description("names of the columns to keep"),
    ),
  }),
  shorthand: "columns",
  work:
    ({ columns }) =>
    (row) => {
      const kept: Row = {};
      for (const name of columns) {
        if (!Object.hasOwn(row, name)) {
          throw new PipelineError(
            "transform-failed",
            `select: there is no column ${JSON.stringify(name)}; the row has ${Object.keys(row)
              .map((key) => JSON.stringify(key))
              .join(", ")}`,
          );
        }
        setMember(kept, name, row[name]);
      }
      return kept;
    },
});

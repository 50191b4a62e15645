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
import type { Column, Row } from "../nouns.ts";
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
  work({ columns }) {
    const keep = (row: Row) => {
      const kept: Row = {};
      for (const name of columns) {
        if (!Object.hasOwn(row, name)) throw nothingToSelect(name);
        setMember(kept, name, row[name]);
      }
      return kept;
    };
    const columnsLeft = (before: readonly Column[]) =>
      columns.flatMap((name) => before.find((column) => column.name === name) ?? []);
    return Object.assign(keep, { columnsLeft });
  },
});

/** Tells not what the row has: keys of JSON rows can be data. */
export const nothingToSelect = (name: string): PipelineError =>
  new PipelineError(
    "transform-failed",
    `select: there is no column ${JSON.stringify(name)} in a row; name only columns that every row has`,
  );

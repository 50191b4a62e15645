/**
 * A stage of one's own, with a config that is checked like that of every other stage:
 * all but the last characters of a column become `•`.
 */
import * as v from "valibot";
import { defineTransform } from "../src/index.ts"; // in a project of your own: from "spillway"

export default defineTransform({
  name: "mask",
  summary: "Hides all but the last characters of the named columns.",
  config: v.strictObject({
    columns: v.pipe(v.array(v.string()), v.description("names of the columns to hide")),
    keep: v.pipe(v.optional(v.number(), 2), v.description("characters that stay readable")),
  }),
  shorthand: "columns",
  work:
    ({ columns, keep }) =>
    (row) => {
      const masked = { ...row };
      for (const name of columns) {
        const value = row[name];
        const text = typeof value === "string" ? value : JSON.stringify(value ?? "");
        masked[name] = "•".repeat(Math.max(0, text.length - keep)) + text.slice(-keep);
      }
      return masked;
    },
});

/**
 * Adds columns to rows from a second query, by key: one row of it for each key, or none.
 *
 * takes / gives  rows / rows: objects
 * holds          `cache`, the rows found for one batch, and a few batches
 * order          kept
 * ends           with its input
 * fails          as the source `postgres`; transform-failed (a key column is missing, a name is there already, two rows of
 *                the query have one key, a row has no counterpart and `missing` is `fail`)
 *
 * A query whose rows fit `cache` is read whole, once, before the first row; of a larger one each batch asks for the keys that
 * are not known yet, all at once, and the rows used last are kept. Either way it is one snapshot, and the same rows come out.
 */
import * as v from "valibot";
import { duration, formatBytes, secret, size, text } from "../atoms.ts";
import type { Column } from "../nouns.ts";
import { defineStage } from "../stage.ts";
import { LookupCache } from "./lookup-cache.ts";
import { answer, join, readKeys, readWhole } from "./lookup-join.ts";
import { openLookupTable } from "./lookup-table.ts";

const config = v.strictObject({
  url: v.pipe(
    secret,
    v.regex(/^postgres(ql)?:\/\//, "expected postgres://user@host:port/database"),
    v.description("connection URL, as for `postgres`"),
  ),
  query: v.pipe(text, v.description("one SQL statement that gives the rows to look up")),
  on: v.pipe(
    v.union(
      [
        v.pipe(
          text,
          v.transform((column) => ({ [column]: column })),
        ),
        v.pipe(v.record(text, text), v.minEntries(1, "expected at least one column")),
      ],
      "expected a column's name, or `{ column of the row: column of the query }`",
    ),
    v.description("the key: a column of both, or the row's column and the query's for each"),
  ),
  missing: v.pipe(
    v.optional(v.picklist(["keep", "drop", "fail"], "expected keep, drop or fail"), "keep"),
    v.description("a row without a counterpart: kept with NULLs, dropped, or an error"),
  ),
  cache: v.pipe(
    v.optional(size, "4MiB"),
    v.description("memory for rows of the query; what fits is read once, at the start"),
  ),
  timeout: v.pipe(
    v.optional(duration, "60s"),
    v.description("longest wait for an answer of the server"),
  ),
  connectTimeout: v.pipe(
    v.optional(duration, "10s"),
    v.description("longest wait for connection and login"),
  ),
});

/** A few batches of rows, and what is found for one of them. */
const heldBytes = 2 * 2 ** 20;

export const lookup = defineStage({
  name: "lookup",
  summary: "Adds columns from a second query, by key, without asking once a row.",
  config,
  takes: "rows",
  gives: "rows",
  holds: ({ cache }) => cache + heldBytes,
  async *open({ on, missing, cache: cacheBytes, ...query }, { signal, log, caches }, input) {
    const cache = new LookupCache("lookup", cacheBytes);
    caches.push(cache);
    const table = await openLookupTable({ ...query, key: Object.values(on) }, signal);
    try {
      const isWhole = await readWhole(table, cache);
      log.info(
        isWhole
          ? `lookup: all ${cache.loads} rows of its query are in memory (${formatBytes(cache.bytes)})`
          : `lookup: its query has more than \`cache\` (${formatBytes(cacheBytes)}) holds; each batch asks for the keys it needs`,
      );
      const columnsOf = joinColumns(table.added);
      const absent = Object.fromEntries(table.added.map(({ name }) => [name, null]));
      for await (const batch of input) {
        const { rows, keys } = readKeys(batch, Object.keys(on));
        const answers = await answer(table, cache, isWhole, keys);
        const joined = join(rows, answers, { absent, missing });
        const { expects, end } = batch;
        const columns = columnsOf(batch.columns);
        const bytes = batch.bytes + rows.length * 16 * table.added.length;
        yield {
          shape: "documents",
          columns,
          rows: joined,
          bytes,
          ...(expects && { expects }),
          ...(end && { end }),
        };
      }
    } finally {
      await table.close();
    }
  },
});

/** The same list for the same list, as writers remember it. */
function joinColumns(added: readonly Column[]): (before: readonly Column[]) => readonly Column[] {
  const joined = new WeakMap<readonly Column[], readonly Column[]>();
  return (before) => {
    const columns = joined.get(before) ?? [...before, ...added];
    joined.set(before, columns);
    return columns;
  };
}

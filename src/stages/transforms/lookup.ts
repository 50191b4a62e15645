/**
 * Adds columns to rows from a second query, by key: one row of it for each key, or none.
 *
 * takes / gives  rows / rows: tuples with more cells, objects with more members
 * holds          `cache`, a few batches, and half a MiB of what is found for the next rows
 * order          kept
 * ends           with its input
 * fails          as the source `postgres`; transform-failed (a key column is missing, a name is there already, two rows of
 *                the query have one key, a row has no counterpart and `missing` is `fail`)
 *
 * A query whose rows fit `cache` is read whole, once, before the first row; of a larger one up to 128 rows at a time ask
 * for the keys that are not known yet, and what was used last is kept. Either way it is one snapshot, and the same rows come out;
 * only a key that two rows have goes unseen where nobody asks for it.
 */
import * as v from "valibot";
import { duration, formatBytes, secret, size, text } from "../atoms.ts";
import type { RowBatch } from "../nouns.ts";
import { defineStage } from "../stage.ts";
import { answer, nextRows, partsOf, readWhole } from "./lookup-answers.ts";
import { LookupCache } from "./lookup-cache.ts";
import { join, joinColumns, readKeys } from "./lookup-join.ts";
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

/** A few batches of rows, and what is found for some of them. */
const heldBytes = 2 * 2 ** 20;

/** Asked for first, until it is known how wide the answers are. */
const firstRows = 16;

export const lookup = defineStage({
  name: "lookup",
  summary: "Adds columns from a second query, by key, without asking once a row.",
  config,
  takes: "rows",
  gives: "rows",
  holds: ({ cache }) => cache + heldBytes,
  async *open({ on, missing, cache: cacheBytes, ...config }, ctx, input) {
    const { signal, log } = ctx;
    const cache = new LookupCache("lookup", cacheBytes);
    ctx.caches.push(cache);
    const query = { ...config, key: Object.values(on) };
    const whole = await readWhole(query, ctx, cache);
    const table = whole ? undefined : await openLookupTable(query, signal);
    const added = whole ?? table!.added;
    log.info(
      whole
        ? `lookup: all ${cache.loads} rows of its query are in memory (${formatBytes(cache.bytes)})`
        : `lookup: its query has more than \`cache\` (${formatBytes(cacheBytes)}) holds; each batch asks for the keys it needs`,
    );
    try {
      const columnsOf = joinColumns(added);
      let most = firstRows;
      for await (const batch of input) {
        const { shape, rows, expects, end } = batch;
        const keys = readKeys(batch, Object.keys(on));
        const columns = columnsOf(batch);
        const rowBytes = batch.bytes / Math.max(1, rows.length) + 16 * added.length;
        let at = 0;
        do {
          const some = table ? most : rows.length;
          const answers = await answer({ cache, table }, keys.slice(at, at + some));
          if (table) most = nextRows(most, answers);
          for (const found of partsOf(answers)) {
            const part = rows.slice(at, at + found.length);
            const joined = join(shape, part, found, { added, missing });
            const isFirst = at === 0;
            at += part.length;
            yield {
              shape,
              columns,
              rows: joined,
              bytes: joined.length * rowBytes,
              ...(isFirst && expects && { expects }),
              ...(at === rows.length && end && { end }),
            } as RowBatch;
          }
        } while (at < rows.length);
      }
    } finally {
      await table?.close();
    }
  },
});

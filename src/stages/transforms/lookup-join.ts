/** What a lookup does with a batch: its keys, what is known of them, what has to be asked for, and the rows joined. */
import { PipelineError } from "../../errors.ts";
import type { Column, Row, RowBatch } from "../nouns.ts";
import type { StageContext } from "../stage.ts";
import { documentMaker, setMember, textOf } from "./documents.ts";
import { weigh, type Answer, type LookupCache } from "./lookup-cache.ts";
import {
  keyText,
  readAll,
  type Found,
  type LookupQuery,
  type LookupTable,
} from "./lookup-table.ts";

/** Takes the time of asking, and counts what comes of it. */
async function timed<T>(cache: LookupCache, work: () => Promise<T>): Promise<T> {
  const started = performance.now();
  try {
    return await work();
  } catch (error) {
    cache.loadFailures += 1;
    throw error;
  } finally {
    cache.loadMillis += performance.now() - started;
  }
}

/** Reads all rows into the cache and gives what they add; leaves it empty and gives nothing where they do not fit. */
export function readWhole(
  query: LookupQuery,
  ctx: Pick<StageContext, "signal" | "lease">,
  cache: LookupCache,
): Promise<readonly Column[] | undefined> {
  return timed(cache, async () => {
    let columns: readonly Column[] = [];
    for await (const { added, found } of readAll(query, ctx)) {
      columns = added;
      for (const { key, row } of found) {
        if (cache.has(key)) throw doubled();
        if (cache.add(key, row)) continue;
        cache.clear();
        return undefined;
      }
      cache.loads += found.length;
    }
    return columns;
  });
}

type Key = readonly string[] | null;

/** The batch's rows as objects, and their keys: null where a part is NULL, which equals nothing. */
export function readKeys(batch: RowBatch, names: readonly string[]) {
  const toDocument = documentMaker(batch);
  // Objects are the stage before's; those made here are ours to add to.
  const rows = batch.rows.map((row) =>
    batch.shape === "documents" ? { ...toDocument(row) } : toDocument(row),
  );
  const keys = rows.map((row): Key => {
    const parts = names.map((name) => {
      if (!Object.hasOwn(row, name)) throw nothingToLookUp(name);
      return textOf(row[name]);
    });
    return parts.includes(null) ? null : (parts as string[]);
  });
  return { rows, keys };
}

/** How the answers to keys are found: where all rows are in the cache, nobody is asked. */
export interface Asking {
  readonly cache: LookupCache;
  readonly table: LookupTable | undefined;
}

/** The answer for each key, in its place; what is not known is asked for together. */
export async function answer(
  { cache, table }: Asking,
  keys: readonly Key[],
): Promise<readonly Answer[]> {
  const answers = new Map<string, Answer>();
  const unknown = new Map<string, readonly string[]>();
  for (const parts of keys) {
    if (!parts) continue;
    const key = keyText(parts);
    if (unknown.has(key)) continue;
    const known = answers.get(key) ?? cache.get(key) ?? (table ? undefined : null);
    if (known === undefined) unknown.set(key, parts);
    else answers.set(key, known);
    if (known !== undefined) cache.hits += 1;
  }
  if (table && unknown.size > 0) {
    const found = await timed(cache, () => table.ask([...unknown.values()]));
    cache.loads += unknown.size;
    for (const [key, row] of uniqueRows(found)) if (unknown.has(key)) answers.set(key, row);
    for (const key of unknown.keys()) {
      const known = answers.get(key) ?? null;
      answers.set(key, known);
      cache.set(key, known);
    }
  }
  return keys.map((parts) => (parts ? (answers.get(keyText(parts)) ?? null) : null));
}

/** What is found for so many rows at once is held beside them. */
const foundMostBytes = 512 * 1024;
const fewestRows = 16;

/** How many rows to ask for next: as many as their answers fit, by those there were, and at most twice as many. */
export function nextRows(rows: number, answers: readonly Answer[]): number {
  const bytes = answers.reduce((sum, row) => sum + (row ? weigh("", row) : 0), 0);
  const fitting = Math.floor((foundMostBytes * Math.max(1, answers.length)) / Math.max(1, bytes));
  return Math.max(fewestRows, Math.min(2 * rows, fitting));
}

function uniqueRows(found: readonly Found[]): ReadonlyMap<string, Row> {
  const rows = new Map<string, Row>();
  for (const { key, row } of found) {
    if (rows.has(key)) throw doubled();
    rows.set(key, row);
  }
  return rows;
}

export function join(
  rows: readonly Row[],
  answers: readonly Answer[],
  { absent, missing }: { readonly absent: Row; readonly missing: "keep" | "drop" | "fail" },
): readonly Row[] {
  const joined: Row[] = [];
  for (const [index, row] of rows.entries()) {
    const found = answers[index] ?? null;
    if (!found && missing === "fail") throw noCounterpart();
    if (!found && missing === "drop") continue;
    for (const [name, value] of Object.entries(found ?? absent)) {
      if (Object.hasOwn(row, name)) throw taken(name);
      setMember(row, name, value);
    }
    joined.push(row);
  }
  return joined;
}

const nothingToLookUp = (name: string) =>
  new PipelineError("transform-failed", `lookup: there is no column ${JSON.stringify(name)}`);

const doubled = () =>
  new PipelineError(
    "transform-failed",
    "lookup: two rows of its query have the same key; expected one (a `distinct on` or a further key column makes it so)",
  );

const noCounterpart = () =>
  new PipelineError(
    "transform-failed",
    "lookup: a row has no counterpart in its query, and `missing` is `fail`; its key is kept back because it is data",
  );

const taken = (name: string) =>
  new PipelineError(
    "transform-failed",
    `lookup: rows have a column ${JSON.stringify(name)} already; name it otherwise in the lookup's query`,
  );

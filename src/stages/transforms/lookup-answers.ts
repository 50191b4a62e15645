/** What a lookup knows of keys: all of it from the start, or what it has asked for. */
import { PipelineError } from "../../errors.ts";
import type { Column, Tuple } from "../nouns.ts";
import type { StageContext } from "../stage.ts";
import { weigh, type Answer, type LookupCache } from "./lookup-cache.ts";
import { readAll, type Found, type LookupQuery, type LookupTable } from "./lookup-table.ts";

/** What tells a row of the pipeline; null where a part is NULL, which equals nothing. */
export type Key = string | null;

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
      for (const { key, cells } of found) {
        if (cache.has(key)) throw doubled();
        if (cache.add(key, cells)) continue;
        cache.clear();
        return undefined;
      }
      cache.loads += found.length;
    }
    return columns;
  });
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
  if (!table) return answerWhole(cache, keys);
  const answers = new Map<string, Answer>();
  const unknown = new Set<string>();
  for (const key of keys) {
    if (key === null || unknown.has(key)) continue;
    const known = answers.get(key) ?? cache.get(key);
    if (known === undefined) unknown.add(key);
    else answers.set(key, known);
    if (known !== undefined) cache.hits += 1;
  }
  if (unknown.size > 0) {
    const found = await timed(cache, () => table.ask([...unknown]));
    cache.loads += unknown.size;
    for (const [key, cells] of uniqueRows(found)) if (unknown.has(key)) answers.set(key, cells);
    for (const key of unknown) {
      const known = answers.get(key) ?? null;
      answers.set(key, known);
      cache.set(key, known);
    }
  }
  return keys.map((key) => (key === null ? null : (answers.get(key) ?? null)));
}

function answerWhole(cache: LookupCache, keys: readonly Key[]): readonly Answer[] {
  return keys.map((key) => {
    if (key === null) return null;
    cache.hits += 1;
    return cache.peek(key) ?? null;
  });
}

/** What is found for so many rows at once is held beside them. */
const foundMostBytes = 512 * 1024;
const fewestRows = 16;
/** The next answers may be a hundred times as wide as those before, and come all at once. */
const mostRows = 128;

/** Of what is held beside rows; where nothing was found, nothing. */
const weightOf = (row: Answer): number => (row ? weigh("", row) : 0);

/** How many rows to ask for next: as many as their answers fit, by those there were, and at most twice as many. */
export function nextRows(rows: number, answers: readonly Answer[]): number {
  const bytes = answers.reduce((sum, row) => sum + weightOf(row), 0);
  const fitting = Math.floor((foundMostBytes * Math.max(1, answers.length)) / Math.max(1, bytes));
  return Math.max(fewestRows, Math.min(2 * rows, fitting, mostRows));
}

/** Answers in parts that are held at once, in their order: a wide one may be that of many rows. */
export function* partsOf(answers: readonly Answer[]): Generator<readonly Answer[]> {
  let from = 0;
  let bytes = 0;
  for (const [at, row] of answers.entries()) {
    const more = weightOf(row);
    if (at > from && bytes + more > foundMostBytes) {
      yield answers.slice(from, at);
      from = at;
      bytes = 0;
    }
    bytes += more;
  }
  yield from === 0 ? answers : answers.slice(from);
}

function uniqueRows(found: readonly Found[]): ReadonlyMap<string, Tuple> {
  const rows = new Map<string, Tuple>();
  for (const { key, cells } of found) {
    if (rows.has(key)) throw doubled();
    rows.set(key, cells);
  }
  return rows;
}

const doubled = () =>
  new PipelineError(
    "transform-failed",
    "lookup: two rows of its query have the same key; expected one (a `distinct on` or a further key column makes it so)",
  );

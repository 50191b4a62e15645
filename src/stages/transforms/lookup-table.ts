/**
 * The rows of a lookup's query, by key, from one snapshot: all of them, or those of some keys at a time.
 *
 * Two keys are the same when their texts are, as `filter` would compare them: `1` is not `1.0`.
 */
import * as v from "valibot";
import { PipelineError } from "../../errors.ts";
import type { Column, Tuple } from "../nouns.ts";
import { openQuery, postgresConfig, readTuples, type OpenedQuery } from "../sources/postgres.ts";
import { arrayText, dropSemicolons, isServerText, jsonOid } from "../sources/postgres-types.ts";
import type { StageContext } from "../stage.ts";
import { cellReader, refuseDoubles, textOf } from "./documents.ts";

export interface LookupQuery {
  readonly url: string;
  readonly query: string;
  /** Columns of the query that tell its rows apart. */
  readonly key: readonly string[];
  readonly timeout: number;
  readonly connectTimeout: number;
}

/** What the query has for one key. */
export interface Found {
  readonly key: string;
  /** Its cells but for the key's. */
  readonly cells: Tuple;
}

export interface LookupTable {
  /** What each row of the pipeline gains. */
  readonly added: readonly Column[];
  /** The rows of these keys, each of which may be missing. */
  ask(keys: readonly string[]): Promise<readonly Found[]>;
  close(): Promise<void>;
}

/** A key of one or several columns as one text. */
export const keyText = (parts: readonly string[]): string =>
  parts.length === 1 ? parts[0]! : JSON.stringify(parts);

const partsOf = (key: string, columns: number): readonly string[] =>
  columns === 1 ? [key] : (JSON.parse(key) as string[]);

const sourceOf = ({ url, query, timeout, connectTimeout }: LookupQuery) =>
  v.parse(postgresConfig, { url, query, timeout, connectTimeout });

/**
 * All rows, a batch at a time, and what they add; whoever leaves early has read no more than that.
 * @throws PipelineError as the source `postgres` does; `transform-failed` when the query lacks a key column
 */
export async function* readAll(
  query: LookupQuery,
  ctx: Pick<StageContext, "signal" | "lease">,
): AsyncGenerator<{ readonly added: readonly Column[]; readonly found: readonly Found[] }> {
  const { signal, lease } = ctx;
  // Not the whole context: a lookup has no part in how a run goes on.
  for await (const batch of readTuples(sourceOf(query), { signal, lease }, "json")) {
    const { added, toFound } = splitAt(query.key, batch.columns);
    yield { added, found: (batch.rows as readonly Tuple[]).flatMap(toFound) };
  }
}

/**
 * Connects and describes the query, to be asked for some keys at a time.
 * @throws PipelineError as `readAll`
 */
export async function openLookupTable(
  query: LookupQuery,
  signal: AbortSignal,
): Promise<LookupTable> {
  const opened = await openQuery(sourceOf(query), signal, "json");
  const { session, columns } = opened;
  try {
    const { added, keyAt, toFound } = splitAt(query.key, columns);
    const asking = await askByKey(opened, keyAt);
    return {
      added,
      async ask(keys) {
        const all = keys
          .map((text) => partsOf(text, keyAt.length))
          .filter((parts) => parts.every(isServerText));
        const lists = keyAt.map((_, part) => arrayText(all.map((parts) => parts[part]!)));
        return (await session.ask(asking, lists)).rows.flatMap(toFound);
      },
      close: () => session.close(),
    };
  } catch (error) {
    await session.close();
    throw error;
  }
}

/** Which columns are the key, and how a row is told by it: by the texts that rows of the pipeline are told by. */
function splitAt(key: readonly string[], columns: readonly Column[]) {
  const keyAt = key.map((name) => findKey(columns, name));
  const addedAt = [...columns.keys()].filter((at) => !keyAt.includes(at));
  const added = addedAt.map((at) => columns[at]!);
  refuseDoubles(columns);
  const readers = keyAt.map((at) => cellReader(columns[at]!));
  const toFound = (tuple: Tuple): readonly Found[] => {
    const parts = keyAt.map((at, part) => textOf(readers[part]!(tuple[at])));
    // NULL equals nothing, so nobody can ask for such a row.
    if (parts.includes(null)) return [];
    return [{ key: keyText(parts as string[]), cells: addedAt.map((at) => tuple[at]) }];
  };
  return { keyAt, added, toFound };
}

function findKey(columns: readonly Column[], name: string): number {
  const found = [...columns.keys()].filter((at) => columns[at]!.name === name);
  if (found.length === 1) return found[0]!;
  throw new PipelineError(
    "transform-failed",
    `lookup: the query gives ${found.length === 0 ? "no column" : "more than one column"} ${JSON.stringify(name)}; expected one for its key`,
  );
}

/** Since version 16 a server can say whether a text is a value of a type; others fail where one is not. */
const saysValid = 160_000;

/** Columns go by position, so odd names need no care; `in` gives a row once, however its key is written. */
async function askByKey(
  { session, sql, oids, columns }: OpenedQuery,
  keyAt: readonly number[],
): Promise<string> {
  // Without its length, a type of texts takes texts of any.
  const wanted = keyAt.map((at) => `pg_catalog.format_type(${oids[at]!}, -1)`);
  const { rows } = await session.ask(
    `select ${wanted.join(", ")}, pg_catalog.current_setting('server_version_num')`,
  );
  // What is json, or was made json for us, has no `=`; its text is what rows are told by.
  const types = keyAt.map((at, part) => (oids[at] === jsonOid ? "text" : rows[0]![part]!));
  const isSaid = Number(rows[0]!.at(-1)) >= saysValid;
  const names = columns.map((_, at) => `c${at}`).join(", ");
  // Of a domain over an enum there are no comparisons with any other type.
  const key = keyAt.map((at, part) => `q.c${at}::${types[part]}`).join(", ");
  const lists = types.map((_, part) => `$${part + 1}::text[]`).join(", ");
  const parts = types.map((type, part) =>
    isSaid
      ? `case when pg_catalog.pg_input_is_valid(k${part}, '${type.replaceAll("'", "''")}') then k${part}::${type} end`
      : `k${part}::${type}`,
  );
  return (
    `select q.* from (${dropSemicolons(sql)}\n) as q(${names}) where (${key}) in ` +
    `(select ${parts.join(", ")} from unnest(${lists}) as k(${types.map((_, part) => `k${part}`).join(", ")}))`
  );
}

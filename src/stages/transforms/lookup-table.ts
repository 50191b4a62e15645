/**
 * The rows of a lookup's query, by key, from one snapshot: all of them, or those of some keys at a time.
 *
 * Two keys are the same when their texts are, as the server prints them: `1` is not `1.0`.
 */
import { PipelineError } from "../../errors.ts";
import type { Column, Row } from "../nouns.ts";
import { openQuery, type OpenedQuery } from "../sources/postgres.ts";
import { documentMaker } from "./documents.ts";

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
  readonly row: Row;
}

export interface LookupTable {
  /** What each row of the pipeline gains. */
  readonly added: readonly Column[];
  /** All rows, a few at a time; whoever leaves early has read no more than that. */
  readAll(): AsyncGenerator<readonly Found[]>;
  /** The rows of these keys, each of which may be missing. */
  ask(keys: readonly (readonly string[])[]): Promise<readonly Found[]>;
  close(): Promise<void>;
}

/** A key of one or several columns as one text. */
export const keyText = (parts: readonly string[]): string =>
  parts.length === 1 ? parts[0]! : JSON.stringify(parts);

type Texts = readonly (string | null)[];

/** The first look is short, since rows may be wide. */
const firstRows = 16;
const fetchedBytes = 256 * 1024;

/**
 * Connects and describes the query.
 * @throws PipelineError as the source `postgres` does; `transform-failed` when the query lacks a key column
 */
export async function openLookupTable(
  { key, ...config }: LookupQuery,
  signal: AbortSignal,
): Promise<LookupTable> {
  const query = await openQuery(
    { ...config, params: [], statementTimeout: undefined },
    signal,
    "json",
  );
  try {
    const keyAt = key.map((name) => findKey(query.columns, name));
    return createTable(query, keyAt, await nameTypes(query, keyAt));
  } catch (error) {
    await query.session.close();
    throw error;
  }
}

function createTable(
  { session, sql, columns }: OpenedQuery,
  keyAt: readonly number[],
  keyTypes: readonly string[],
): LookupTable {
  const addedAt = [...columns.keys()].filter((at) => !keyAt.includes(at));
  const added = addedAt.map((at) => columns[at]!);
  const toRow = documentMaker({ shape: "tuples", columns: added, rows: [], bytes: 0 });
  const byKey = (tuples: readonly Texts[]): readonly Found[] =>
    tuples.flatMap((tuple) => {
      const parts = keyAt.map((at) => tuple[at] ?? null);
      // NULL equals nothing, so nobody can ask for such a row.
      if (parts.includes(null)) return [];
      const row = toRow(addedAt.map((at) => tuple[at] ?? null));
      return { key: keyText(parts as string[]), row };
    });
  const asking = askByKey(sql, columns.length, keyAt, keyTypes);

  return {
    added,
    async *readAll() {
      await session.ask(`declare spillway_lookup no scroll cursor for ${sql}`);
      for (let rows = firstRows; ;) {
        const answer = await session.ask(`fetch forward ${rows} from spillway_lookup`);
        yield byKey(answer.rows);
        if (answer.rows.length < rows) break;
        const rowBytes = Math.max(1, textBytes(answer.rows) / rows);
        rows = Math.max(1, Math.floor(fetchedBytes / rowBytes));
      }
      await session.ask("close spillway_lookup");
    },
    async ask(keys) {
      const lists = keyAt.map((_, part) => arrayText(keys.map((parts) => parts[part]!)));
      return byKey((await session.ask(asking, lists)).rows);
    },
    close: () => session.close(),
  };
}

/** Columns go by position, so odd names need no care; `in` gives a row once, however its key is written. */
function askByKey(
  sql: string,
  columns: number,
  keyAt: readonly number[],
  keyTypes: readonly string[],
): string {
  const names = Array.from({ length: columns }, (_, at) => `c${at}`).join(", ");
  const key = keyAt.map((at) => `q.c${at}`).join(", ");
  const lists = keyTypes.map((type, part) => `$${part + 1}::${type}[]`).join(", ");
  return `select q.* from (${sql}\n) as q(${names}) where (${key}) in (select * from unnest(${lists}))`;
}

/** An array as PostgreSQL reads it: https://www.postgresql.org/docs/current/arrays.html#ARRAYS-IO */
const arrayText = (texts: readonly string[]): string =>
  `{${texts.map((text) => `"${text.replaceAll(/["\\]/g, String.raw`\$&`)}"`).join(",")}}`;

const textBytes = (tuples: readonly Texts[]): number =>
  tuples.reduce((sum, tuple) => tuple.reduce((all, text) => all + (text?.length ?? 0), sum), 0);

function findKey(columns: readonly Column[], name: string): number {
  const found = [...columns.keys()].filter((at) => columns[at]!.name === name);
  if (found.length === 1) return found[0]!;
  throw new PipelineError(
    "transform-failed",
    `lookup: the query gives ${found.length === 0 ? "no column" : "more than one column"} ${JSON.stringify(name)}; expected one for its key`,
  );
}

/** Names of the key's types, as a cast takes them. */
async function nameTypes(
  { session, oids }: OpenedQuery,
  keyAt: readonly number[],
): Promise<readonly string[]> {
  const names = keyAt.map((at) => `pg_catalog.format_type(${oids[at]!}, null)`);
  const { rows } = await session.ask(`select ${names.join(", ")}`);
  return rows[0] as readonly string[];
}

/**
 * what: the rows of one query on a SQLite file, in one read transaction · takes nothing / gives rows (tuples of values)
 * holds: a row of the largest size allowed with its blobs as text, one batch, and SQLite's page cache
 * order: as the query gives it
 * ends: a batch without rows that carries the proof; no rows is no error
 * fails: input-missing, source-refused: fix path or query; source-bad-data: a damaged file, a value too large;
 *   source-changed: written to behind SQLite's locks; source-failed: locked, try again; disk-full: no room to sort
 */
import type { DatabaseSync, SQLInputValue, StatementSync } from "node:sqlite";
import { setImmediate } from "node:timers/promises";
import * as v from "valibot";
import { boundValues, text } from "../atoms.ts";
import { PipelineError } from "../../errors.ts";
import type { Cell, Column, RowBatch, Tuple } from "../nouns.ts";
import { defineStage, type RowContext } from "../stage.ts";
import { badData, batchBytes, digestQuery } from "./input-file.ts";
import { heldRecord, maxRecord } from "./ndjson.ts";
import { openSnapshot, translate } from "./sqlite-snapshot.ts";

/** SQLite keeps about 2 MB of pages, and as much for a sort. */
const cacheBytes = 4 * 2 ** 20;

const config = v.strictObject({
  path: v.pipe(text, v.description("SQLite file to read; required")),
  query: v.pipe(text, v.description("one SELECT; required")),
  params: v.pipe(
    boundValues,
    v.description("values for the `?` of the query, in order; a whole number is bound as INTEGER"),
  ),
  maxRecord,
});

type SqliteConfig = v.InferOutput<typeof config>;

export const sqlite = defineStage({
  name: "sqlite",
  summary: "Reads the rows of a query on a SQLite file from one consistent snapshot.",
  config,
  takes: "nothing",
  gives: "rows",
  holds: ({ maxRecord }) => cacheBytes + batchBytes + heldRecord(maxRecord, 8, 8),
  open: (config, ctx) => readQuery(config, ctx),
});

async function* readQuery(config: SqliteConfig, ctx: RowContext): AsyncGenerator<RowBatch> {
  const { path, query, params } = config;
  const snapshot = await openSnapshot(path, config.maxRecord, ctx.signal);
  try {
    const statement = prepare(snapshot.database, query, path);
    const columns = statement.columns().map(describeColumn);
    const found: Found = { rows: 0, replacedTexts: 0 };
    yield* readBatches(bind(statement, params, path), { config, columns, found }, ctx.signal);
    if (found.replacedTexts > 0) {
      ctx.log.warn(
        `${found.replacedTexts} texts hold U+FFFD, which is also how SQLite text that is not valid UTF-8 is read`,
      );
    }
    const end = {
      rows: found.rows,
      consistency: await snapshot.prove(),
      queryDigest: digestQuery("sqlite", path, query),
    };
    yield { shape: "tuples", columns, rows: [], bytes: 0, end };
  } catch (error) {
    ctx.signal.throwIfAborted();
    throw translate(error, path);
  } finally {
    await snapshot.close();
  }
}

/** Prepares the one statement of `query`, ready to give exact integers and columns that share a name. */
function prepare(database: DatabaseSync, query: string, path: string): StatementSync {
  const statement = database.prepare(query);
  const rest = query.slice(statement.sourceSQL.length);
  const isAlone = /^(?:[\s;]|--[^\n]*(?:\n|$)|\/\*[^]*?\*\/)*$/.test(rest);
  if (!isAlone || statement.columns().length === 0) {
    throw new PipelineError("source-refused", `${path}: expected one SELECT in \`query\``);
  }
  statement.setReturnArrays(true);
  statement.setReadBigInts(true);
  return statement;
}

/** SQLite keeps JSON as text, and asks nobody whether it is; as a string in a record it would be encoded twice. */
function describeColumn({ name, type }: { name: string; type: string | null }): Column {
  return { name, type: type ?? "", json: /^jsonb?$/i.test(type ?? "") ? "jsonValue" : "value" };
}

/** Binds `params` and gives the rows. SQLite would read a missing parameter as NULL; here it is an error. */
function bind(
  statement: StatementSync,
  params: SqliteConfig["params"],
  path: string,
): Iterable<readonly Cell[]> {
  const values: SQLInputValue[] = params.map((param) => {
    if (typeof param === "boolean") return param ? 1n : 0n;
    return typeof param === "number" && Number.isSafeInteger(param) ? BigInt(param) : param;
  });
  if (accepts(statement, [...values, null]) || !accepts(statement, values)) {
    const count = `${params.length} given`;
    throw new PipelineError(
      "source-refused",
      `${path}: expected as many params as \`?\`; ${count}`,
    );
  }
  return statement.iterate(...values) as unknown as Iterable<readonly Cell[]>;
}

/** Whether the statement has a place for each value; nothing is run. */
function accepts(statement: StatementSync, values: readonly SQLInputValue[]): boolean {
  try {
    statement.iterate(...values).return?.();
    return true;
  } catch (error) {
    if ((error as { errcode?: unknown }).errcode === sqliteRange) return false;
    throw error;
  }
}
const sqliteRange = 25;

/**
 * Opens the file and prepares the query as a run would, and reads no row.
 * @returns how many columns it gives
 */
export async function tryQuery(
  { path, query, params, maxRecord }: SqliteConfig,
  signal: AbortSignal,
): Promise<number> {
  const snapshot = await openSnapshot(path, maxRecord, signal);
  try {
    const statement = prepare(snapshot.database, query, path);
    bind(statement, params, path);
    return statement.columns().length;
  } catch (error) {
    throw translate(error, path);
  } finally {
    await snapshot.close();
  }
}

interface Found {
  rows: number;
  replacedTexts: number;
}

interface Reading {
  readonly config: SqliteConfig;
  readonly columns: readonly Column[];
  readonly found: Found;
}

/**
 * SQLite runs inside this thread: a run can be stopped between two batches, but not while SQLite looks for the next
 * row (a sort, a filter that lets little through).
 */
async function* readBatches(
  cells: Iterable<readonly Cell[]>,
  { config, columns, found }: Reading,
  signal: AbortSignal,
): AsyncGenerator<RowBatch> {
  let rows: Tuple[] = [];
  let bytes = 0;
  for (const raw of cells) {
    const row = raw.map(convert);
    rows.push(row);
    found.rows += 1;
    bytes += measure(row, found, config);
    if (bytes < batchBytes) continue;
    yield { shape: "tuples", columns, rows, bytes };
    rows = [];
    bytes = 0;
    await setImmediate(undefined, { signal });
  }
  if (rows.length > 0) yield { shape: "tuples", columns, rows, bytes };
}

/** Integers as numbers where those are exact, else bigint; blobs and infinities as PostgreSQL prints them. */
function convert(cell: Cell): Cell {
  if (typeof cell === "bigint") {
    const number = Number(cell);
    return Number.isSafeInteger(number) ? number : cell;
  }
  if (cell instanceof Uint8Array) {
    return `\\x${Buffer.from(cell.buffer, cell.byteOffset, cell.length).toString("hex")}`;
  }
  return cell === Infinity || cell === -Infinity ? String(cell) : cell;
}

/** About how many bytes of memory a row takes. SQLite bounds each value; the row is bounded here. */
function measure(row: Tuple, found: Found, { path, maxRecord }: SqliteConfig): number {
  let textLength = 0;
  for (const cell of row) {
    if (typeof cell !== "string") continue;
    textLength += cell.length;
    if (cell.includes("\ufffd")) found.replacedTexts += 1;
  }
  if (textLength > 2 * maxRecord) {
    throw badData(`${path}, row ${found.rows}`, `larger than maxRecord (${maxRecord} bytes)`);
  }
  return 32 + 24 * row.length + textLength;
}

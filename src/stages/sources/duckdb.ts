/**
 * what: the rows of one query in DuckDB, on its database file or on Parquet, CSV and JSON files · takes nothing / gives rows (tuples of texts)
 * holds: the library, `memoryLimit`, six times the largest batch of DuckDB, the batch being used
 * order: as the query gives it
 * ends: a batch without rows that carries the proof, once the engine stated that these rows were all
 * fails: config-invalid: the package is not installed; input-missing, source-refused: fix path or query, or give room;
 *   source-bad-data: a damaged file, rows too wide; source-changed: the file was replaced; source-failed: try again
 */
import { resolve } from "node:path";
import * as v from "valibot";
import { boundValues, duration, formatBytes, size, text } from "../atoms.ts";
import type { PipelineError } from "../../errors.ts";
import type { Column, RowBatch, Tuple } from "../nouns.ts";
import { defineStage, type StageContext } from "../stage.ts";
import { explain } from "./duckdb-errors.ts";
import { openDatabaseFile } from "./duckdb-file.ts";
import { loadDuckdb, type Result } from "./duckdb-library.ts";
import { type RunningQuery, runQuery } from "./duckdb-query.ts";
import type { Print } from "./duckdb-nested.ts";
import { describeColumn } from "./duckdb-values.ts";
import { badData, batchBytes, digestQuery } from "./input-file.ts";

const MiB = 2 ** 20;

const config = v.strictObject({
  path: v.pipe(
    v.optional(text),
    v.description("DuckDB database file, opened read-only; without one the query reads files"),
  ),
  query: v.pipe(
    text,
    v.description("one SELECT; may read files: `from 'rows.parquet'`, `read_csv(…)`; required"),
  ),
  params: v.pipe(
    boundValues,
    v.description("values for the `?` of the query, in order; bound, never pasted into it"),
  ),
  memoryLimit: v.pipe(
    v.optional(v.pipe(size, v.minValue(16 * MiB, "expected at least 16MiB")), "64MiB"),
    v.description(
      "what sorts, groups, joins and open files may take; nothing goes to disk instead",
    ),
  ),
  maxBatch: v.pipe(
    v.optional(size, "4MiB"),
    v.description("bytes of 2048 rows at most, which is how many come at once; more are refused"),
  ),
  timeout: v.pipe(
    v.optional(duration, "10m"),
    v.description(
      "longest wait for the file to open, and for the next rows; sorts and groups come before the first",
    ),
  ),
});

type DuckdbConfig = v.InferOutput<typeof config>;

/** What loading and opening it weighs. */
const libraryBytes = 56 * MiB;
/** A batch is made, waits, is read, and its memory is not given back at once. */
const formsOfBatch = 6;
const rowOverheadBytes = 32;
const cellOverheadBytes = 24;

export const duckdb = defineStage({
  name: "duckdb",
  summary:
    "Reads the rows of one query in DuckDB, from its database file or from Parquet, CSV and JSON files.",
  config,
  takes: "nothing",
  gives: "rows",
  holds: ({ memoryLimit, maxBatch }) =>
    libraryBytes + memoryLimit + formsOfBatch * maxBatch + batchBytes,
  open: (config, ctx) => readQuery(config, ctx),
});

type Context = Pick<StageContext, "signal" | "log" | "lease">;

async function* readQuery(config: DuckdbConfig, ctx: Context): AsyncGenerator<RowBatch> {
  const { path, query, params, memoryLimit: memoryBytes, timeout: answerMillis } = config;
  const { version } = loadDuckdb();
  const file = path === undefined ? undefined : await openDatabaseFile(path);
  const place = path ?? "duckdb";
  let running: RunningQuery | undefined;
  try {
    const resolved = path === undefined ? undefined : resolve(path);
    const options = { path: resolved, query, params, memoryBytes, answerMillis, place };
    running = await runQuery(options, ctx.signal);
    if (running.readsFiles) ctx.log.warn(readsFiles);
    let rows = 0;
    const columns = describeColumns(running.result);
    for await (const batch of readBatches(running, columns, { ...config, place }, ctx)) {
      rows += batch.rows.length;
      yield batch;
    }
    const end = {
      rows,
      consistency: {
        class: running.readsFiles ? "stream" : "snapshot",
        proof: { engine: version(), ...(await file?.prove()) },
      } as const,
      queryDigest: digestQuery("duckdb", path ?? null, query),
    };
    yield { shape: "tuples", columns: columns.map(withoutPrint), rows: [], bytes: 0, end };
  } catch (error) {
    ctx.signal.throwIfAborted();
    throw explain(error, place);
  } finally {
    running?.close();
    await file?.close();
  }
}

const readsFiles =
  "the query reads files, which keep no snapshot: their rows are as of when they are read; the manifest says `stream`";

type PrintedColumn = Column & { readonly print: Print };

const withoutPrint = ({ name, type, json }: PrintedColumn): Column => ({ name, type, json });

function describeColumns(result: Result): readonly PrintedColumn[] {
  const library = loadDuckdb();
  const names = result.columnNames();
  return names.map((name, at) => describeColumn(name, result.columnType(at), library));
}

interface Room {
  readonly place: string;
  readonly maxBatch: number;
}

async function* readBatches(
  running: RunningQuery,
  described: readonly PrintedColumn[],
  { place, maxBatch }: Room,
  { lease }: Context,
): AsyncGenerator<RowBatch> {
  const columns = described.map(withoutPrint);
  let rows: Tuple[] = [];
  let bytes = 0;
  for await (const chunk of running.chunks()) {
    const vectors = columns.map((_, at) => chunk.getColumnVector(at));
    const count = chunk.rowCount;
    let chunkBytes = 0;
    for (let at = 0; at < count; at += 1) {
      const row = described.map(({ print }, index) => print(vectors[index]!, at));
      const textBytes = row.reduce((sum, cell) => sum + (cell?.length ?? 0), 0);
      chunkBytes += textBytes;
      if (chunkBytes > maxBatch) throw tooWide(place, maxBatch);
      rows.push(row);
      bytes += rowOverheadBytes + cellOverheadBytes * row.length + textBytes;
      if (bytes < batchBytes * lease.pressure.share) continue;
      yield { shape: "tuples", columns, rows, bytes };
      [rows, bytes] = [[], 0];
    }
  }
  if (rows.length > 0) yield { shape: "tuples", columns, rows, bytes };
}

const tooWide = (place: string, maxBatch: number): PipelineError =>
  badData(
    place,
    `2048 rows, which come at once, are larger than maxBatch (${formatBytes(maxBatch)}); raise it, and \`memory\` with it, or leave wide columns out`,
  );

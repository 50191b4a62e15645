/**
 * One running query, chunk by chunk.
 *
 * A query that fails past its first rows looks like one that is at its end: the package then gives an empty chunk, too. So the
 * end is believed only when the engine says it: its transaction still stands, which no failed query leaves so, and its profiler
 * counted no more rows than came. It may count fewer: none of `values`, and what comes first (a CTE that is used twice, a
 * correlated subquery) hides the rest from it.
 */
import { PipelineError } from "../../errors.ts";
import { type Engine, type EngineOptions, openEngine } from "./duckdb-engine.ts";
import { hiddenFailure, kindOfMessage } from "./duckdb-errors.ts";
import { type Chunk, loadDuckdb, type Result, type Statement } from "./duckdb-library.ts";

export type Param = string | number | boolean | null;

export interface QueryOptions extends Omit<EngineOptions, "files"> {
  readonly query: string;
  readonly params: readonly Param[];
  /** For messages. */
  readonly place: string;
}

export interface RunningQuery {
  readonly result: Result;
  /** Whether it reads files beside the database. */
  readonly readsFiles: boolean;
  /** All of it; ends when the engine has stated so. A chunk is gone when the next one is asked for. */
  chunks(): AsyncGenerator<Chunk>;
  close(): void;
}

/**
 * Runs one SELECT: first where no file but the database can be read, and where it asks for others, again where they can.
 * @throws PipelineError `source-refused` for what is no SELECT or wants other params, and what DuckDB throws
 */
export async function runQuery(options: QueryOptions, signal: AbortSignal): Promise<RunningQuery> {
  try {
    return await runWith(options, false, signal);
  } catch (error) {
    const isForbidden = error instanceof Error && kindOfMessage(error.message) === "Permission";
    if (!isForbidden) throw error;
    return await runWith(options, true, signal);
  }
}

async function runWith(
  options: QueryOptions,
  readsFiles: boolean,
  signal: AbortSignal,
): Promise<RunningQuery> {
  const engine = await openEngine({ ...options, files: readsFiles }, signal);
  let statement: Statement | undefined;
  const close = () => {
    if (!engine.isStuck) statement?.destroySync();
    engine.close();
  };
  try {
    statement = await prepare(engine, options);
    const result = await engine.answer(statement.stream());
    return { result, readsFiles, chunks: () => readChunks(engine, result, options.place), close };
  } catch (error) {
    close();
    throw error;
  }
}

async function prepare(
  { connection, answer }: Engine,
  { query, params, place }: QueryOptions,
): Promise<Statement> {
  const statements = await answer(connection.extractStatements(query));
  const statement = statements.count === 1 ? await answer(statements.prepare(0)) : undefined;
  if (statement?.statementType !== loadDuckdb().StatementType.SELECT)
    throw new PipelineError("source-refused", `${place}: expected one SELECT in \`query\``);
  if (statement.parameterCount !== params.length)
    throw new PipelineError(
      "source-refused",
      `${place}: expected as many params as \`?\`: ${statement.parameterCount}; ${params.length} given`,
    );
  for (const [index, param] of params.entries()) bind(statement, index + 1, param);
  return statement;
}

function bind(statement: Statement, at: number, param: Param): void {
  if (param === null) statement.bindNull(at);
  else if (typeof param === "boolean") statement.bindBoolean(at, param);
  else if (typeof param === "string") statement.bindVarchar(at, param);
  else if (Number.isSafeInteger(param)) statement.bindBigInt(at, BigInt(param));
  else statement.bindDouble(at, param);
}

async function* readChunks(engine: Engine, result: Result, place: string): AsyncGenerator<Chunk> {
  let rows = 0;
  let isOpen = true;
  try {
    for (;;) {
      const chunk = await engine.answer(result.fetchChunk());
      if (!chunk || chunk.rowCount === 0) break;
      rows += chunk.rowCount;
      yield chunk;
      // Else its memory would wait for the garbage collector, which does not see it.
      chunk.reset();
    }
    isOpen = false;
    const counted = await countReturned(engine);
    if (counted === undefined || counted > rows) throw hiddenFailure(place, rows);
  } finally {
    // An open result keeps the file open, whatever else is closed.
    if (isOpen && !engine.isStuck) {
      engine.connection.interrupt();
      await result.fetchChunk().catch(() => {});
    }
  }
}

/** How many rows the engine says the query before this one had at least; undefined where it failed. */
async function countReturned({ connection, answer }: Engine): Promise<number | undefined> {
  const sql = "select message from duckdb_logs where contains(message, 'ROWS_RETURNED')";
  const logged = await answer(connection.runAndReadAll(sql)).catch((error: unknown) => {
    if (error instanceof Error && kindOfMessage(error.message) === "TransactionContext") return;
    throw error;
  });
  if (!logged) return undefined;
  const [, count = "0"] =
    /ROWS_RETURNED.*: (\d+)\}$/.exec(String(logged.getRows().at(-1)?.[0])) ?? [];
  return Number(count);
}

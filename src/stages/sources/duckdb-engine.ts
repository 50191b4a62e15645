/**
 * One DuckDB inside this process, locked up: files are read only, nothing is written to disk, extensions and the network stay
 * out, its settings cannot be changed, and all is asked in one transaction. It has one thread, so that it works while rows are
 * awaited and at no other time.
 */
import { setTimeout as sleep } from "node:timers/promises";
import { formatDuration } from "../atoms.ts";
import { PipelineError } from "../../errors.ts";
import { untilAborted } from "../until-aborted.ts";
import { type DuckDBConnection, type DuckDBInstance, loadDuckdb } from "./duckdb-library.ts";

export interface EngineOptions {
  /** The resolved path of a database file; none is a database in memory that is empty. */
  readonly path: string | undefined;
  readonly memoryBytes: number;
  /** Longest wait for anything that is asked. */
  readonly answerMillis: number;
  /** Whether files beside the database may be read. */
  readonly files: boolean;
}

export interface Engine {
  readonly connection: DuckDBConnection;
  /** What `work` gives. Whoever gives up, by deadline or abort, stops it first. */
  answer<T>(work: Promise<T>): Promise<T>;
  /** Whether DuckDB goes on with what was given up. */
  readonly isStuck: boolean;
  /** Lets go of the file, at once unless DuckDB is stuck. */
  close(): void;
}

/** It looks for an interruption between two pieces of work, and forgets one that comes before it has begun. */
const interruptMillis = 20;
const goodbyeMillis = 700;

const lockedUp = {
  threads: "1",
  temp_directory: "",
  autoinstall_known_extensions: "false",
  autoload_known_extensions: "false",
  allow_community_extensions: "false",
  allow_persistent_secrets: "false",
};

const settings = [
  "set TimeZone = 'UTC'",
  // One batch: texts are not counted, so that anything more would be several of them, however large.
  "set streaming_buffer_size = '1B'",
  // The rows that the engine counts itself: see `duckdb-query.ts`.
  "set enable_profiling = 'no_output'",
  `set custom_profiling_settings = '{"ROWS_RETURNED": "true", "OPERATOR_CARDINALITY": "true"}'`,
  "call enable_logging('Metrics', level = 'debug')",
];
/** No error of any kind leaves the transaction standing. */
const transaction = [
  "begin transaction read only",
  "set current_transaction_invalidation_policy = 'ALL_ERRORS_INVALIDATE_TRANSACTION'",
  "set lock_configuration = true",
];

/** @throws what DuckDB throws; PipelineError `config-invalid` where it is not installed */
export async function openEngine(options: EngineOptions, signal: AbortSignal): Promise<Engine> {
  signal.throwIfAborted();
  const { path, memoryBytes, files } = options;
  const opening = loadDuckdb().DuckDBInstance.create(path ?? ":memory:", {
    ...lockedUp,
    memory_limit: `${memoryBytes}B`,
    ...(path !== undefined && { access_mode: "READ_ONLY" }),
  });
  const instance = await inTime(opening, options, signal).catch((error: unknown) => {
    void opening.then((late) => late.closeSync()).catch(() => {});
    throw error;
  });
  const connection = await instance.connect();
  const engine = guard(instance, connection, options, signal);
  try {
    const access = files ? [] : ["set enable_external_access = false"];
    for (const sql of [...settings, ...access, ...transaction])
      await engine.answer(connection.run(sql));
    return engine;
  } catch (error) {
    engine.close();
    throw error;
  }
}

function guard(
  instance: DuckDBInstance,
  connection: DuckDBConnection,
  options: EngineOptions,
  signal: AbortSignal,
): Engine {
  let stuck: Promise<void> | undefined;
  const close = () => {
    connection.closeSync();
    instance.closeSync();
  };
  return {
    connection,
    get isStuck() {
      return stuck !== undefined;
    },
    answer: (work) =>
      inTime(work, options, signal, async () => {
        stuck = (await interrupt(connection, work))?.over;
      }),
    close() {
      if (stuck) void stuck.then(close);
      else close();
    },
  };
}

/** What `work` gives; whoever gives up, by deadline or abort, does `stop` first. */
async function inTime<T>(
  work: Promise<T>,
  { answerMillis }: EngineOptions,
  signal: AbortSignal,
  stop = async () => {},
): Promise<T> {
  const limit = new AbortController();
  const abort = () => limit.abort(signal.reason);
  const timer = setTimeout(() => limit.abort(tooLong(answerMillis)), answerMillis);
  signal.addEventListener("abort", abort, { once: true });
  if (signal.aborted) abort();
  try {
    return await untilAborted(work, limit.signal);
  } catch (error) {
    if (!limit.signal.aborted) throw error;
    await stop();
    throw limit.signal.reason;
  } finally {
    clearTimeout(timer);
    signal.removeEventListener("abort", abort);
  }
}

/** Stops what runs; gives its end where it does not stop in time. */
async function interrupt(
  connection: DuckDBConnection,
  work: Promise<unknown>,
): Promise<{ readonly over: Promise<void> } | undefined> {
  let isOver = false;
  const over = work.then(
    () => void (isOver = true),
    () => void (isOver = true),
  );
  const deadline = performance.now() + goodbyeMillis;
  while (!isOver && performance.now() < deadline) {
    connection.interrupt();
    await Promise.race([over, sleep(interruptMillis)]);
  }
  return isOver ? undefined : { over };
}

const tooLong = (answerMillis: number): PipelineError =>
  new PipelineError(
    "source-failed",
    `DuckDB gave no answer for ${formatDuration(answerMillis)}; expected it to be quicker, or \`timeout\` to be longer than its sorts and groups take`,
  );

/**
 * A SQLite file opened for reading in one transaction: the only file that knows node:sqlite's way to open and fail.
 *
 * With a rollback journal the transaction's shared lock keeps every writer from committing, so the file must be the
 * same at the end to the last nanosecond. With a write-ahead log writers go on, the transaction sees none of it, and
 * checkpoints may touch the file: there, only that the path still names the same file is required.
 */
import type { BigIntStats } from "node:fs";
import { type FileHandle, stat } from "node:fs/promises";
import { resolve } from "node:path";
import { DatabaseSync } from "node:sqlite";
import { PipelineError, systemCode } from "../../errors.ts";
import type { Consistency } from "../nouns.ts";
import { codeOf, sqlite, waitForLock } from "../sqlite-codes.ts";
import { fileChanged, formatNanos, openRegular, requireSame } from "./input-file.ts";

/** How long a lock held by a writer is waited for. */
const lockMillis = 2000;

/** Where the file header keeps its change counter (https://www.sqlite.org/fileformat.html, 1.3.7). */
const changeCounterOffset = 24;

export interface Snapshot {
  readonly database: DatabaseSync;
  /**
   * Call after the last row, with the transaction still open.
   * @throws PipelineError `source-changed` when somebody wrote to the file without SQLite's locks or replaced it.
   */
  prove(): Promise<Consistency>;
  close(): Promise<void>;
}

/**
 * Opens `path` read-only and begins a transaction; values longer than `maxRecord` bytes are refused by SQLite.
 * @throws PipelineError `input-missing`, `source-refused`, `source-bad-data`, or `source-failed` (still locked).
 */
export async function openSnapshot(
  path: string,
  maxRecord: number,
  signal: AbortSignal,
): Promise<Snapshot> {
  // Closing any descriptor of a file drops all POSIX locks this process has on it (https://www.sqlite.org/howtocorrupt.html,
  // 2.2.1): the one used for looking at the file is opened before the database and closed after it.
  const handle = await openRegular(path);
  let database: DatabaseSync | undefined;
  try {
    // Only a resolved path: SQLite gives `:memory:` and `file:` meanings of their own.
    const options = { readOnly: true, timeout: 0, limits: { length: maxRecord } };
    database = new DatabaseSync(resolve(path), options);
    await begin(database, signal);
    return await watchSnapshot(path, handle, database);
  } catch (error) {
    database?.close();
    await handle.close();
    signal.throwIfAborted();
    throw translate(error, path);
  }
}

async function watchSnapshot(
  path: string,
  handle: FileHandle,
  database: DatabaseSync,
): Promise<Snapshot> {
  const journal = String(database.prepare("PRAGMA journal_mode").get()?.["journal_mode"]);
  const before = await look(handle);
  return {
    database,
    async prove() {
      if (!database.isTransaction) throw fileChanged(path, "lost its read transaction");
      const now = await look(handle);
      const named = await statOf(path);
      if (journal !== "wal") requireSame(path, before.stats, now.stats);
      if (journal !== "wal" && before.changeCounter !== now.changeCounter) {
        throw fileChanged(path, "was written to");
      }
      if (named?.ino !== now.stats.ino || named.dev !== now.stats.dev) {
        throw fileChanged(path, "was replaced by another file");
      }
      return { class: "snapshot", proof: describe(journal, before) };
    },
    async close() {
      database.close();
      await handle.close();
    },
  };
}

function describe(journal: string, { stats, changeCounter }: Look) {
  const mtime = formatNanos(stats.mtimeNs);
  return { journal, changeCounter, size: Number(stats.size), mtime };
}

interface Look {
  readonly stats: BigIntStats;
  readonly changeCounter: number;
}

async function look(handle: FileHandle): Promise<Look> {
  const header = Buffer.alloc(4);
  await handle.read(header, 0, header.length, changeCounterOffset);
  return { stats: await handle.stat({ bigint: true }), changeCounter: header.readUInt32BE() };
}

async function statOf(path: string): Promise<BigIntStats | undefined> {
  try {
    return await stat(path, { bigint: true });
  } catch {
    return undefined;
  }
}

/** Begins the transaction and takes its lock now, not at the first row. */
async function begin(database: DatabaseSync, signal: AbortSignal): Promise<void> {
  database.exec("BEGIN");
  const look = () => database.prepare("SELECT count(*) FROM sqlite_schema").get();
  await waitForLock(look, lockMillis, signal);
}

/** SQLite itself would have to write: variants of `readOnly`, which alone is a query that writes. */
const needsWriter = (error: unknown): boolean =>
  codeOf(error) === sqlite.cannotOpen ||
  (codeOf(error) === sqlite.readOnly && (error as { errcode: number }).errcode !== sqlite.readOnly);

/** An error of SQLite as an error of this project: its code travels, its message may quote data and does not. */
export function translate(error: unknown, path: string): unknown {
  const code = codeOf(error);
  if (error instanceof PipelineError) return error;
  if (code === undefined && systemCode(error) === undefined) return error;
  const named = `${path} (SQLite code ${code ?? systemCode(error)})`;
  if (needsWriter(error)) {
    return new PipelineError(
      "source-refused",
      `${named} cannot be read before a program opened it that may write: its last writer was cut off, or its write-ahead log ` +
        "lies in a folder that is read-only; open it once (`sqlite3 FILE .tables`), or export a copy",
    );
  }
  switch (code) {
    case sqlite.busy:
    case sqlite.locked:
      return new PipelineError("source-failed", `${named} is locked by a writer; try again later`);
    case sqlite.ioError:
      return new PipelineError("source-failed", `${named} could not be read; try again`);
    case sqlite.full:
      return new PipelineError("disk-full", `${named}: no room for a sort; free temporary space`);
    case sqlite.corrupt:
    case sqlite.notADatabase:
      return new PipelineError("source-bad-data", `${named} is damaged or not a SQLite database`);
    case sqlite.tooBig:
      return new PipelineError(
        "source-bad-data",
        `${named} has a value larger than maxRecord; raise it or leave the column out`,
      );
    default:
      return new PipelineError(
        "source-refused",
        `${named} refuses the query; expected one SELECT that SQLite runs read-only`,
      );
  }
}

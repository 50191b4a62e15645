/**
 * A SQLite file opened for writing: the one place that knows how it is opened and failing.
 *
 * The file is opened by SQLite alone: closing any other descriptor of it would drop the locks that this process has on it
 * (https://www.sqlite.org/howtocorrupt.html, 2.2).
 */
import { stat } from "node:fs/promises";
import { DatabaseSync } from "node:sqlite";
import { pathToFileURL } from "node:url";
import { PipelineError, systemCode } from "../../errors.ts";
import { codeOf, sqlite, waitForLock } from "../sqlite-codes.ts";
import { TryAgain } from "./retry.ts";

/**
 * EXTRA: where the journal is a file that is removed, FULL leaves open whether a commit outlives a power cut. What is put
 * aside is kept in memory: rows belong in no folder for temporary files.
 */
const settings = "pragma synchronous = extra; pragma fullfsync = on; pragma temp_store = memory";

export interface SqliteFile {
  /** Runs `work` in one transaction, which is durable when this returns; one that fails leaves no trace. */
  write<T>(work: (database: DatabaseSync) => T, signal: AbortSignal): Promise<T>;
  /** The same, and nothing stays of it. */
  rehearse<T>(work: (database: DatabaseSync) => T, signal: AbortSignal): Promise<T>;
  read<T>(work: (database: DatabaseSync) => T, signal: AbortSignal): Promise<T>;
  close(): void;
}

/**
 * Opens a file that is there; a lock is waited for `lockMillis` at most.
 * @throws PipelineError `destination-refused` where it is none; what SQLite throws
 */
export async function openSqliteFile(
  path: string,
  lockMillis: number,
  signal: AbortSignal,
): Promise<SqliteFile> {
  await requireFile(path);
  const url = pathToFileURL(path);
  url.search = "?mode=rw";
  const database = new DatabaseSync(url, { timeout: 0 });
  const waiting = <T>(work: () => T, signal: AbortSignal) => waitForLock(work, lockMillis, signal);
  const begun = async <T>(
    ending: "commit" | "rollback",
    work: (database: DatabaseSync) => T,
    signal: AbortSignal,
  ): Promise<T> => {
    await waiting(() => database.exec("begin immediate"), signal);
    try {
      const result = work(database);
      // Readers of a file with a rollback journal are waited for here; newer ones queue behind us.
      await waiting(() => database.exec(ending), signal);
      return result;
    } finally {
      if (database.isTransaction) database.exec("rollback");
    }
  };
  try {
    await waiting(() => database.exec(settings), signal);
  } catch (error) {
    database.close();
    throw error;
  }
  return {
    write: (work, signal) => begun("commit", work, signal),
    rehearse: (work, signal) => begun("rollback", work, signal),
    read: (work, signal) => waiting(() => work(database), signal),
    close: () => database.close(),
  };
}

async function requireFile(path: string): Promise<void> {
  const found = await stat(path).catch((error: unknown) => {
    if (systemCode(error) === "ENOENT") return undefined;
    throw error;
  });
  if (found?.isFile()) return;
  throw new PipelineError(
    "destination-refused",
    `there is no file ${path}; expected a SQLite database that has the table`,
  );
}

/** An error of SQLite as one of ours: its code travels, its message may quote data and does not. What may pass is tried again. */
export function asDestination(error: unknown, path: string): unknown {
  if (error instanceof PipelineError) return error;
  const code = (error as { errcode?: number }).errcode ?? systemCode(error);
  // What Node itself complains about is our mistake.
  if (code === undefined || String(code).startsWith("ERR_")) return error;
  const fail = (kind: "destination-failed" | "destination-refused", what: string) =>
    new PipelineError(kind, what, { details: { code } });
  const named = `${path} (SQLite code ${code})`;
  switch (codeOf(error)) {
    case sqlite.busy:
    case sqlite.locked:
      return new TryAgain(
        fail("destination-failed", `${named} is locked by another process; try again later`),
      );
    case sqlite.ioError:
    case sqlite.noMemory:
      return new TryAgain(fail("destination-failed", `${named} could not be written; try again`));
    case sqlite.full:
      return fail(
        "destination-failed",
        `no space left at the destination for ${named}; free some, then run again`,
      );
    case sqlite.corrupt:
    case sqlite.notADatabase:
      return fail("destination-refused", `${named} is damaged or not a SQLite database`);
    case sqlite.readOnly:
    case sqlite.cannotOpen:
    case undefined:
      return fail(
        "destination-refused",
        `${named} cannot be opened for writing; check the rights of the file and of its folder`,
      );
    default:
      return fail(
        "destination-refused",
        `${named} refused the rows of a page; expected records that fit the table and its constraints`,
      );
  }
}

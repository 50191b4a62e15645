/**
 * One run per pipeline: an exclusive SQLite transaction on a file in the spool. The kernel releases it when the
 * process dies, however it dies, and it holds across containers that share the folder; no timer decides anything.
 */
import { closeSync, openSync } from "node:fs";
import { DatabaseSync } from "node:sqlite";
import { PipelineError, systemCode } from "../../errors.ts";

const busy = 5;

/** @throws PipelineError `already-running` when another process holds it */
export function takeLock(path: string, pipeline: string): { release(): void } {
  makePrivate(path);
  const database = new DatabaseSync(path, { timeout: 0 });
  try {
    database.exec("PRAGMA journal_mode = MEMORY; BEGIN EXCLUSIVE");
  } catch (error) {
    database.close();
    if ((error as { errcode?: number }).errcode !== busy) throw error;
    throw new PipelineError(
      "already-running",
      `another run of ${pipeline} holds its spool; wait for it to end, or give this pipeline another name`,
    );
  }
  return {
    release() {
      if (database.isOpen) database.close();
    },
  };
}

/** SQLite would make it readable for all. An existing file is not opened: closing it would drop this process's locks. */
function makePrivate(path: string): void {
  try {
    closeSync(openSync(path, "wx", 0o600));
  } catch (error) {
    if (systemCode(error) !== "EEXIST") throw error;
  }
}

/**
 * One run per pipeline: a write transaction of SQLite on a file in the spool. The kernel releases it when the
 * process dies, however it dies, and it holds across containers that share the folder; no timer decides anything.
 *
 * IMMEDIATE is one lock of the kernel, so of many that ask at once exactly one gets it. EXCLUSIVE would be several in
 * turn: two that ask at once can each hold what the other still needs, and both would be refused.
 */
import { closeSync, openSync, readFileSync, statSync } from "node:fs";
import { DatabaseSync } from "node:sqlite";
import { PipelineError, systemCode } from "../../errors.ts";
import { toSpoolError } from "./spool-room.ts";

const busy = 5;

/** The kernel's table of locks, where it shows one. */
type ReadLocks = () => string;
const kernelLocks: ReadLocks = () => readFileSync("/proc/locks", "utf8");

/**
 * @throws PipelineError `already-running` when another process holds it; `spool-failed`, `disk-full` when nobody can
 */
export function takeLock(
  path: string,
  pipeline: string,
  readLocks = kernelLocks,
): { release(): void } {
  try {
    const database = begin(path);
    return {
      release() {
        if (database.isOpen) database.close();
      },
    };
  } catch (error) {
    const { errcode } = error as { errcode?: number };
    if (errcode === undefined) throw toSpoolError(error);
    if (errcode !== busy) throw unlockable(path, pipeline, error);
    throw new PipelineError(
      "already-running",
      `another run of ${pipeline} holds its spool${holderOf(path, readLocks)}; wait for it to end, or give this pipeline another name`,
    );
  }
}

function begin(path: string): DatabaseSync {
  makePrivate(path);
  const database = new DatabaseSync(path, { timeout: 0 });
  try {
    database.exec("PRAGMA journal_mode = MEMORY; BEGIN IMMEDIATE");
    return database;
  } catch (error) {
    database.close();
    throw error;
  }
}

const unlockable = (path: string, pipeline: string, cause: unknown): PipelineError =>
  new PipelineError(
    "spool-failed",
    `spool: ${path} cannot be locked; expected a file of ours on a disk with locks: if no run of ${pipeline} is under way, remove it and run again`,
    { cause },
  );

/** SQLite would make it readable for all. An existing file is not opened: closing it would drop this process's locks. */
function makePrivate(path: string): void {
  try {
    closeSync(openSync(path, "wx", 0o600));
  } catch (error) {
    if (systemCode(error) !== "EEXIST") throw error;
  }
}

/** SQLite's locks lie from here on (`PENDING_BYTE` in its file format); processes that only wait hold none. */
const lockBytesFrom = 0x40000000;

/** The table is read in pieces, and what moves in it meanwhile can be passed over: another look finds it. */
const looks = 3;

/**
 * Who holds the lock, for people. The kernel is asked, since a note in a file may be of a process long gone; it does not
 * know who holds it on another host or in another container, and other systems than Linux do not tell.
 */
function holderOf(path: string, readLocks: ReadLocks): string {
  try {
    const inode = String(statSync(path).ino);
    for (let look = 0; look < looks; look += 1) {
      const pid = findHolder(inode, readLocks());
      if (pid !== undefined) return ` (process ${pid})`;
    }
  } catch {
    // Nobody needs to know it.
  }
  return "";
}

function findHolder(inode: string, locks: string): string | undefined {
  // 12: POSIX  ADVISORY  WRITE 4711 fd:00:123456 1073741824 1073742335
  for (const line of locks.split("\n")) {
    const [, kind, , access, pid, file, from] = line.trim().split(/\s+/);
    const isOurs = kind === "POSIX" && access === "WRITE" && file?.split(":")[2] === inode;
    if (isOurs && Number(from) >= lockBytesFrom && Number(pid) > 0) return pid;
  }
  return undefined;
}

/** The journal of acknowledgements while the run goes on: lines are added at its end, and read again in page order. */
import { assert } from "../../errors.ts";
import { writeAll } from "../durable-file.ts";
import type { Disk, DiskFile } from "../world.ts";
import { spoolDamaged, type Checkpoint, type HmacKey } from "./checkpoint.ts";
import { readJournal } from "./spool-journal-lines.ts";
import { spoolFailed } from "./spool-room.ts";

export interface Journal {
  /** Bytes of whole, durable lines. */
  readonly bytes: number;
  /**
   * Makes a line durable. A torn line would make the next one unreadable, so a failed write is cut off again; it
   * may be tried again. After a failed sync nobody knows what the disk holds: nothing is added any more.
   */
  append(line: string): Promise<void>;
  close(): Promise<void>;
}

export type JournalFile = Pick<DiskFile, "write" | "truncate" | "datasync" | "close">;

/** @param bytes what the file, opened for appending, holds */
export function createJournal(file: JournalFile, bytes: number): Journal {
  let wholeBytes = bytes;
  let broken = false;
  const give = (cause: unknown): never => {
    broken = true;
    throw spoolFailed(cause);
  };
  return {
    get bytes() {
      return wholeBytes;
    },
    async append(line) {
      assert(!broken, "nothing is added to a journal whose sync failed");
      const added = Buffer.from(line);
      try {
        await writeAll(file, added);
      } catch (error) {
        await file.truncate(wholeBytes).catch(give);
        throw error;
      }
      try {
        await file.datasync();
      } catch (error) {
        // The next attempt must not believe the line; its page is still there and is uploaded again.
        await file.truncate(wholeBytes).catch(() => {});
        give(error);
      }
      wholeBytes += added.length;
    },
    close: () => file.close(),
  };
}

export interface ReplaySources {
  readonly disk: Disk;
  readonly journalPath: string;
  readonly key: HmacKey;
  readonly journal: Pick<Journal, "bytes">;
  /** How many pages are acknowledged by now: their lines are in the journal. */
  readonly acknowledged: () => number;
  /** The checkpoint of a page's file; undefined where the file is gone. */
  readonly readPage: (page: number) => Promise<Checkpoint | undefined>;
}

/**
 * Replay digests of the pages of a range, in page order. Pages are acknowledged meanwhile: one whose file is gone
 * has its line in the journal. Holds one line of them, however many there are.
 */
export async function* replayDigests(
  { first, end }: { readonly first: number; readonly end: number },
  { disk, journalPath, key, journal, acknowledged, readPage }: ReplaySources,
): AsyncGenerator<Pick<Checkpoint, "page" | "replay">, void> {
  let readBytes = 0;
  let next = first;
  while (next < end) {
    const acked = acknowledged();
    if (next >= acked) {
      const checkpoint = await readPage(next);
      if (checkpoint) {
        yield checkpoint;
        next += 1;
      } else assert(next < acknowledged(), `page ${next} is acknowledged before its file is gone`);
      continue;
    }
    const range = { start: readBytes, end: journal.bytes };
    for await (const { checkpoints, bytes } of readJournal(
      { disk, path: journalPath, key },
      range,
    )) {
      readBytes += bytes;
      for (const checkpoint of checkpoints) {
        if (checkpoint.page < next) continue;
        yield checkpoint;
        next += 1;
        if (next === end) return;
      }
    }
    if (next < acked) throw spoolDamaged("the journal of acknowledgements is gone or was cut");
  }
}

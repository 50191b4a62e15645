/**
 * Acknowledgements, several at a time: one line in the journal and one sync for all that came meanwhile, then their
 * files are removed. Until then a crash only makes the run store again what the destination has, which changes nothing.
 *
 * They are written when nothing durable is left to be acknowledged, when many wait, and at the latest `waitMillis` after
 * the first. One write is under way at a time.
 */
import { assert } from "../../errors.ts";
import { shareNext } from "../share-next.ts";
import type { World } from "../world.ts";
import { encodeLine, type HmacKey } from "./checkpoint.ts";
import { assertAcked, type Marks } from "./page-states.ts";
import type { Journal } from "./spool-journal.ts";
import type { StoredPage } from "./spool-pages.ts";
import { diskBytes, onDisk, type Room } from "./spool-room.ts";

/** Acknowledgements that wait for each other at most. */
export const acksMost = 16;

/** The longest the first of them waits for others. */
const waitMillis = 20;

export interface Acks {
  /** The page is acknowledged durably, and its file removed, when it returns. Called in page order. */
  add(page: number, stored: Promise<StoredPage>, signal: AbortSignal): Promise<void>;
  /** Writes what waits. Never fails: `add` does. */
  flush(): Promise<void>;
}

interface AcksInit {
  readonly folder: string;
  readonly world: Pick<World, "disk" | "clock">;
  readonly key: HmacKey;
  readonly journal: Pick<Journal, "append">;
  readonly room: Pick<Room, "give" | "whenDiskHasRoom">;
  /** Where pages are now. */
  readonly marks: () => Marks;
  /** Told of each page whose line is durable, before its file goes. */
  readonly onAcknowledged: (page: number) => void;
  /** Asked before anything is written: throws once the folder is somebody else's. */
  readonly check: () => void;
}

interface Group {
  readonly pages: Promise<StoredPage>[];
  readonly written: PromiseWithResolvers<void>;
}

export function createAcks({ folder, key, journal, room, marks, ...init }: AcksInit): Acks {
  const { disk, clock } = init.world;
  let next = marks().acked;
  let group: Group | undefined;
  let callOff: (() => void) | undefined;
  let signal: AbortSignal | undefined;
  let broken: { readonly error: unknown } | undefined;

  const write = async (pages: readonly StoredPage[]) => {
    const checkpoints = pages.map(({ checkpoint }) => checkpoint);
    const line = encodeLine(key, checkpoints);
    await room.whenDiskHasRoom(() => {
      init.check();
      return journal.append(line);
    }, signal!);
    for (const { page } of checkpoints) init.onAcknowledged(page);
    for (const { checkpoint, fileBytes } of pages) {
      assertAcked(marks(), checkpoint.page);
      await onDisk(() => disk.unlink(`${folder}/pages/${checkpoint.name}`));
      room.give(diskBytes(fileBytes));
    }
  };

  const flush = shareNext(async () => {
    callOff?.();
    const asked = group;
    [group, callOff] = [undefined, undefined];
    if (!asked) return;
    try {
      if (broken) throw broken.error;
      await write(await Promise.all(asked.pages));
      asked.written.resolve();
    } catch (error) {
      // A line behind one that is missing would be a gap in the journal.
      broken ??= { error };
      asked.written.reject(broken.error);
    }
  });

  return {
    add(page, stored, given) {
      assert(page === next && page < marks().durable, "pages are acknowledged in order");
      next += 1;
      signal = given;
      // Its failure is met when its turn comes.
      stored.catch(() => {});
      group ??= { pages: [], written: Promise.withResolvers() };
      const { pages, written } = group;
      pages.push(stored);
      if (pages.length >= acksMost || next === marks().durable) void flush();
      else callOff ??= clock.after(waitMillis, () => void flush());
      return written.promise;
    },
    flush,
  };
}

/**
 * Pages gather in the spool's buffer and become durable together: a flush writes and syncs their files side by side,
 * names them in page order and syncs the folder once for all. Their own memory goes home as soon as they lie here.
 *
 * A flush begins when the buffer has filled to its threshold, when it has no room for the next page, with the final
 * page, and at the latest `waitMillis` after the first page came: a slow source keeps no page waiting. One is under way
 * at a time. Nobody has to wait for the lease here, so gathering cannot hold up those that fill pages.
 */
import { syncFolder, writeSynced } from "../durable-file.ts";
import { shareNext } from "../share-next.ts";
import { untilAborted } from "../until-aborted.ts";
import type { Disk, World } from "../world.ts";
import { createSpoolBuffer } from "./spool-buffer.ts";
import type { Room } from "./spool-room.ts";

export interface FlushPolicy {
  /** Share of the buffer that begins a flush; at 0, inline, every page is flushed alone. */
  readonly threshold: number;
  /** Whether pages go on being taken while a flush is under way, as far as the buffer has room. */
  readonly writer: "background" | "inline";
}

/** `bench/spool` compares: either writer is as fast, and in the background pages go on being taken meanwhile. */
export const flushPolicy: FlushPolicy = { threshold: 0.8, writer: "background" };

/** The longest a page waits for others to join it. */
const waitMillis = 50;

/** Files written and synced at once: enough for the file system to commit them together, and a thread left for others. */
const lanes = 3;

/** Room beside a page that does not compress at all: a flush then has five of the usual pages or more, which is enough. */
const gatheredBytes = 2 ** 19;

/** The buffer's size: room for the largest page that sealing can make, and for more of the usual kind. */
export const bufferBytes = (sealedMostBytes: number): number => sealedMostBytes + gatheredBytes;

interface Failure {
  readonly error: unknown;
}

/** A page's file on its way to the disk. */
export interface PageFile {
  readonly page: number;
  readonly name: string;
  /** What is written, given the first of the pages that become durable together with this one. */
  readonly parts: (since: number) => readonly Uint8Array[];
  /** Called in page order when the file and its name would survive a power cut, or with what came in between. */
  readonly settle: (failure?: Failure) => void;
}

export interface FlushCounts {
  readonly flushes: number;
  readonly flushedBytes: number;
  readonly flushMillis: number;
}

type Counting = { -readonly [Key in keyof FlushCounts]: number };

export interface Flusher {
  /** Flushes so far, the bytes they made durable and the time they took. */
  readonly counts: FlushCounts;
  /** The first of the pages that this one would become durable with, if it came now. */
  since(page: number): number;
  /** Copies the parts into the buffer: when it returns they are needed no more. Waits for room in it. */
  take(file: PageFile, last: boolean, signal: AbortSignal): Promise<void>;
  /** Makes durable what was taken. Never fails: each file's `settle` is told. */
  flush(): Promise<void>;
}

interface FlusherInit {
  readonly folder: string;
  readonly world: Pick<World, "disk" | "clock">;
  readonly bufferBytes: number;
  readonly policy: FlushPolicy;
  readonly room: Pick<Room, "whenDiskHasRoom">;
  /** Asked before anything is written: throws once the folder is somebody else's. */
  readonly check: () => void;
}

interface Gathered extends Omit<PageFile, "parts"> {
  readonly bytes: Uint8Array;
}

export function createFlusher(init: FlusherInit): Flusher {
  const { folder, world, room, policy, check } = init;
  const buffer = createSpoolBuffer(init.bufferBytes);
  const dueBytes = policy.threshold * init.bufferBytes;
  const counts = { flushes: 0, flushedBytes: 0, flushMillis: 0 };
  let gathered: Gathered[] = [];
  let gatheredBytes = 0;
  let callOff: (() => void) | undefined;
  let signal: AbortSignal | undefined;
  let broken: Failure | undefined;
  let flushing = false;

  const leave = (files: readonly Gathered[], failure?: Failure) => {
    for (const file of files) {
      buffer.giveOldest();
      file.settle(failure);
    }
  };

  /** What fits on the disk becomes durable even if the rest does not: its upload makes room for it. */
  const flushSome = async (files: readonly Gathered[]): Promise<readonly Gathered[]> => {
    check();
    const started = performance.now();
    const durable = files.slice(0, await writeGroup({ disk: world.disk, folder, check }, files));
    count(counts, durable, performance.now() - started);
    leave(durable);
    return files.slice(durable.length);
  };

  const flush = shareNext(async () => {
    callOff?.();
    let left: readonly Gathered[] = gathered;
    [gathered, gatheredBytes, callOff, flushing] = [[], 0, undefined, true];
    try {
      while (left.length > 0) {
        if (broken) throw broken.error;
        await room.whenDiskHasRoom(async () => void (left = await flushSome(left)), signal!);
      }
    } catch (error) {
      // A page behind one that failed must not become durable before it: nothing more is written.
      broken ??= { error };
      leave(left, broken);
    } finally {
      flushing = false;
    }
  });

  const since = (page: number): number => gathered[0]?.page ?? page;

  const takeMemory = async (bytes: number, signal: AbortSignal): Promise<Uint8Array> => {
    for (;;) {
      if (broken) throw broken.error;
      const memory = buffer.take(bytes);
      if (memory) return memory;
      const { given } = buffer;
      if (!flushing) void flush();
      await untilAborted(given, signal);
    }
  };

  return {
    counts,
    since,
    async take({ page, name, parts, settle }, last, given) {
      const first = parts(since(page));
      const bytes = await takeMemory(sum(first), given);
      // While it waited for memory, those it would have joined may have been flushed.
      const content = parts(since(page));
      copy(sum(content) === bytes.length ? content : first, bytes);
      gathered.push({ page, name, bytes, settle });
      gatheredBytes += bytes.length;
      signal = given;
      const flushed = last || gatheredBytes >= dueBytes ? flush() : undefined;
      if (policy.writer === "inline") await flushed;
      if (!flushed) callOff ??= world.clock.after(waitMillis, () => void flush());
    },
    flush,
  };
}

function count(counts: Counting, files: readonly Gathered[], millis: number): void {
  counts.flushes += 1;
  counts.flushMillis += millis;
  for (const { bytes } of files) counts.flushedBytes += bytes.length;
}

function copy(parts: readonly Uint8Array[], into: Uint8Array): void {
  let at = 0;
  for (const part of parts) {
    into.set(part, at);
    at += part.length;
  }
}

const sum = (parts: readonly Uint8Array[]) => parts.reduce((all, { length }) => all + length, 0);

interface Target {
  readonly disk: Disk;
  readonly folder: string;
  readonly check: () => void;
}

/**
 * Makes as many files durable as the disk takes, from the first on.
 * @returns how many; not a single one is a failure
 */
async function writeGroup(
  { disk, folder, check }: Target,
  files: readonly Gathered[],
): Promise<number> {
  const incoming = ({ name }: Gathered) => `${folder}/incoming/${name}`;
  const pages = `${folder}/pages`;
  const failures = await inLanes(files, (file) => writeSynced(incoming(file), [file.bytes], disk));
  let durable = 0;
  try {
    // One after another: whenever the process is killed, the pages that have their names have no gap.
    for (const [i, file] of files.entries()) {
      if (failures[i]) throw failures[i].error;
      check();
      await disk.rename(incoming(file), `${pages}/${file.name}`);
      durable += 1;
    }
  } catch (error) {
    check();
    for (const file of files.slice(durable)) await disk.unlink(incoming(file)).catch(() => {});
    if (durable === 0) throw error;
  }
  try {
    await syncFolder(pages, disk);
  } catch (error) {
    // Names that failed a sync are never believed; the last goes first, so that there is no gap.
    const named = files.slice(0, durable).toReversed();
    for (const { name } of named) await disk.unlink(`${pages}/${name}`).catch(() => {});
    throw error;
  }
  return durable;
}

/** Does the work on all items, some side by side; gives the failures, each in its item's place. */
async function inLanes<Item>(items: readonly Item[], work: (item: Item) => Promise<void>) {
  const failures: (Failure | undefined)[] = items.map(() => undefined);
  const each = items.entries();
  const lane = async () => {
    for (const [i, item] of each) {
      await work(item).catch((error: unknown) => (failures[i] = { error }));
    }
  };
  await Promise.all(Array.from({ length: lanes }, lane));
  return failures;
}

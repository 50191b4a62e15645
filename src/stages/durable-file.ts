/**
 * Files that survive a power cut: short writes are finished, what is written is synced, folders too.
 * After a failed sync a file is poisoned: it is never synced again and never believed (fsync, ATC '20); what is
 * written here is removed after any error.
 */
import { createHash } from "node:crypto";
import { constants } from "node:fs";
import { dirname } from "node:path";
import { assert, systemCode } from "../errors.ts";
import { shareNext } from "./share-next.ts";
import { realDisk, type Disk, type DiskFile } from "./world.ts";

const create = constants.O_WRONLY | constants.O_CREAT | constants.O_EXCL | constants.O_NOFOLLOW;

/** What becomes the content of a file, piece by piece. */
export type Parts = Iterable<Uint8Array> | AsyncIterable<Uint8Array>;

/** What is read piece by piece, from the start each time; a piece lasts until the next is asked for. */
export type Reread = () => Parts;

/** Bytes of a known length: held, or read piece by piece as a `Reread`. */
export type Content = Uint8Array | StreamedContent;

export interface StreamedContent {
  readonly length: number;
  readonly read: Reread;
}

/** The parts of a content: as many bytes as it says, or an error in place of the last of them. */
export const partsOf = (content: Content): Parts =>
  content instanceof Uint8Array ? [content] : counted(content);

async function* counted({ length, read }: StreamedContent): AsyncGenerator<Uint8Array> {
  let left = length;
  for await (const part of read()) {
    left -= part.length;
    if (left < 0) break;
    yield part;
  }
  assert(left === 0, "a content is as long as it says");
}

/** All of a content in one piece, for those who take nothing else. */
export async function wholeOf(content: Content): Promise<Uint8Array> {
  if (content instanceof Uint8Array) return content;
  const whole = new Uint8Array(content.length);
  let at = 0;
  for await (const part of partsOf(content)) {
    whole.set(part, at);
    at += part.length;
  }
  return whole;
}

/** The same bytes in blocks of one length, the last one shorter, one after another in the same memory. */
export async function* inBlocks(parts: Parts, blockBytes: number): AsyncGenerator<Uint8Array> {
  const block = new Uint8Array(blockBytes);
  let filled = 0;
  for await (const part of parts) {
    for (let at = 0; at < part.length;) {
      const taken = Math.min(blockBytes - filled, part.length - at);
      block.set(part.subarray(at, at + taken), filled);
      [at, filled] = [at + taken, filled + taken];
      if (filled < blockBytes) continue;
      yield block;
      filled = 0;
    }
  }
  if (filled > 0) yield block.subarray(0, filled);
}

/** Copies of all parts in one piece. */
export async function gather(parts: Parts): Promise<Buffer> {
  const copies: Uint8Array[] = [];
  for await (const part of parts) copies.push(Uint8Array.from(part));
  return Buffer.concat(copies);
}

export async function digestOfParts(parts: Parts, algorithm = "sha256"): Promise<Buffer> {
  const digest = createHash(algorithm);
  for await (const part of parts) digest.update(part);
  return digest.digest();
}

/** Writes all of `bytes`, however little each call takes: at `position`, or where the file stands. */
export async function writeAll(
  file: Pick<DiskFile, "write">,
  bytes: Uint8Array,
  position?: number,
): Promise<void> {
  for (let at = 0; at < bytes.length;) {
    const place = position === undefined ? null : position + at;
    const { bytesWritten } = await file.write(bytes, at, bytes.length - at, place);
    if (bytesWritten === 0) throw new Error("a write took nothing");
    at += bytesWritten;
  }
}

/** Reads from `position` until `into` is full or the file ends, however little each call gives; returns what was read. */
export async function readAll<Bytes extends Uint8Array>(
  file: Pick<DiskFile, "read">,
  into: Bytes,
  position: number,
): Promise<Bytes> {
  let at = 0;
  while (at < into.length) {
    const { bytesRead } = await file.read(into, at, into.length - at, position + at);
    if (bytesRead === 0) break;
    at += bytesRead;
  }
  return into.subarray(0, at) as Bytes;
}

/** Writes the parts to a new file and syncs them; after any error the file is gone. */
export async function writeSynced(
  path: string,
  parts: Parts,
  disk: Disk = realDisk,
  mode = 0o600,
): Promise<void> {
  const file = await disk.open(path, create, mode);
  try {
    try {
      for await (const part of parts) await writeAll(file, part);
      await file.sync();
    } finally {
      await file.close();
    }
  } catch (error) {
    await disk.unlink(path).catch(() => {});
    throw error;
  }
}

/**
 * Writes the parts to `incoming`, syncs them, gives them their name and syncs the folder of that name.
 * Whoever sees `path` sees all of it.
 */
export async function writeDurably(
  incoming: string,
  path: string,
  parts: Parts,
  disk: Disk = realDisk,
): Promise<void> {
  await writeSynced(incoming, parts, disk);
  try {
    await disk.rename(incoming, path);
  } catch (error) {
    await disk.unlink(incoming).catch(() => {});
    throw error;
  }
  await syncFolder(dirname(path), disk);
}

/** Makes names that were added to or removed from a folder survive a power cut. */
export async function syncFolder(path: string, disk: Disk = realDisk): Promise<void> {
  const folder = await disk.open(path, constants.O_RDONLY | constants.O_DIRECTORY);
  try {
    await folder.sync();
  } finally {
    await folder.close();
  }
}

/** Syncs of one folder for many who add names to it: each is answered by a sync that began after it asked. */
export const shareFolderSync = (path: string, disk: Disk = realDisk) =>
  shareNext(() => syncFolder(path, disk));

/**
 * Makes a folder (0700 unless told otherwise) and its missing parents, each durable in its own parent; so it does with one
 * that was there, as far as it may, for a process may have died between making it and syncing.
 */
export async function makeFolder(path: string, disk: Disk = realDisk, mode = 0o700): Promise<void> {
  const parent = dirname(path);
  const make = () => disk.mkdir(path, { mode });
  try {
    await make().catch(async (error: unknown) => {
      if (systemCode(error) !== "ENOENT") throw error;
      await makeFolder(parent, disk, mode);
      await make();
    });
  } catch (error) {
    if (systemCode(error) !== "EEXIST") throw error;
    return await syncFolderWhereAllowed(parent, disk);
  }
  await syncFolder(parent, disk);
}

/** The same for the top of a tree of ours: all names above it are made durable too. */
export async function makeTopFolder(path: string, disk: Disk = realDisk): Promise<void> {
  await makeFolder(path, disk);
  for (let at = dirname(path); at !== dirname(at); at = dirname(at))
    await syncFolderWhereAllowed(dirname(at), disk);
}

/** Of a folder that belongs to others. */
const notOurs = new Set<string | undefined>(["EACCES", "EPERM", "EROFS", "EINVAL", "ENOTSUP"]);

/** Whether a folder could not be synced because it is not ours, and not because its disk fails. */
export const isOfOthers = (error: unknown): boolean => notOurs.has(systemCode(error));

/** The same as `syncFolder`, as far as we may: a folder of others may be one that nobody can sync. */
export async function syncFolderWhereAllowed(path: string, disk: Disk = realDisk): Promise<void> {
  await syncFolder(path, disk).catch((error: unknown) => {
    if (!isOfOthers(error)) throw error;
  });
}

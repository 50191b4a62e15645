/**
 * Files that survive a power cut: short writes are finished, what is written is synced, folders too.
 * After a failed sync a file is poisoned: it is never synced again and never believed (fsync, ATC '20); what is
 * written here is removed after any error.
 */
import { constants } from "node:fs";
import { dirname } from "node:path";
import { systemCode } from "../errors.ts";
import { shareNext } from "./share-next.ts";
import { realDisk, type Disk, type DiskFile } from "./world.ts";

const create = constants.O_WRONLY | constants.O_CREAT | constants.O_EXCL | constants.O_NOFOLLOW;

/** What becomes the content of a file, piece by piece. */
export type Parts = Iterable<Uint8Array> | AsyncIterable<Uint8Array>;

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

/** Writes the parts to a new file and syncs them; after any error the file is gone. */
export async function writeSynced(
  path: string,
  parts: Parts,
  disk: Disk = realDisk,
): Promise<void> {
  const file = await disk.open(path, create, 0o600);
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

/** Makes a folder (0700) and its missing parents, each durable in its own parent. */
export async function makeFolder(path: string, disk: Disk = realDisk): Promise<void> {
  try {
    await disk.mkdir(path, { mode: 0o700 });
  } catch (error) {
    if (systemCode(error) === "EEXIST") return;
    if (systemCode(error) !== "ENOENT") throw error;
    await makeFolder(dirname(path), disk);
    await disk.mkdir(path, { mode: 0o700 }).catch(ignoreExisting);
  }
  await syncFolder(dirname(path), disk);
}

function ignoreExisting(error: unknown): void {
  if (systemCode(error) !== "EEXIST") throw error;
}

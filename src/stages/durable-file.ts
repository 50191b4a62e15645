/**
 * Files that survive a power cut: short writes are finished, what is written is synced, folders too.
 * After any error a file is poisoned: it is removed, never synced again and never believed (fsync, ATC '20).
 */
import { constants } from "node:fs";
import { open, rename, unlink, type FileHandle } from "node:fs/promises";
import { dirname } from "node:path";

const create = constants.O_WRONLY | constants.O_CREAT | constants.O_EXCL | constants.O_NOFOLLOW;

/** Writes all of `bytes`, however little each call takes: at `position`, or where the file stands. */
export async function writeAll(
  file: FileHandle,
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

/**
 * Writes the parts to `incoming`, syncs them, gives them their name and syncs the folder of that name.
 * Whoever sees `path` sees all of it.
 */
export async function writeDurably(
  incoming: string,
  path: string,
  parts: Iterable<Uint8Array> | AsyncIterable<Uint8Array>,
): Promise<void> {
  const file = await open(incoming, create, 0o600);
  try {
    try {
      for await (const part of parts) await writeAll(file, part);
      await file.sync();
    } finally {
      await file.close();
    }
    await rename(incoming, path);
  } catch (error) {
    await unlink(incoming).catch(() => {});
    throw error;
  }
  await syncFolder(dirname(path));
}

/** Makes names that were added to or removed from a folder survive a power cut. */
export async function syncFolder(path: string): Promise<void> {
  const folder = await open(path, constants.O_RDONLY | constants.O_DIRECTORY);
  try {
    await folder.sync();
  } finally {
    await folder.close();
  }
}

/** A file that is opened to be read. */
import { constants } from "node:fs";
import { open, type FileHandle } from "node:fs/promises";

/** Of a file that should be a plain one: a named pipe without a writer must not hang the open. */
export const withoutWaiting: number = constants.O_RDONLY | constants.O_NONBLOCK;

/**
 * Opens a file, reads it and closes it, whatever comes of that. (`await using` would say so too; the oldest Node that runs
 * our sources does not know it.)
 * @throws what `open`, `read` and `close` throw
 */
export async function withFile<Found>(
  path: string,
  flags: number,
  read: (file: FileHandle) => Promise<Found>,
): Promise<Found> {
  const file = await open(path, flags);
  try {
    return await read(file);
  } finally {
    await file.close();
  }
}

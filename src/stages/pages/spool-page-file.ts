/** Page files as they are opened and read: plain files only, each with its checkpoint at its end. */
import { constants } from "node:fs";
import { systemCode } from "../../errors.ts";
import { readAll } from "../durable-file.ts";
import type { Disk, DiskFile } from "../world.ts";
import { decodeTrailer, type Checkpoint, type HmacKey } from "./checkpoint.ts";

/** The checkpoint of a page file; undefined when it is gone, torn or changed at its end, or no file of its own. */
export async function readPageFile(
  disk: Disk,
  path: string,
  key: HmacKey,
): Promise<{ checkpoint: Checkpoint; fileBytes: number } | undefined> {
  const file = await openPlain(disk, path);
  if (!file) return undefined;
  try {
    const { size } = await file.stat();
    const checkpoint = await decodeTrailer(key, size, (position, length) =>
      readAll(file, Buffer.alloc(length), position),
    );
    return checkpoint && { checkpoint, fileBytes: size };
  } finally {
    await file.close();
  }
}

const absent = new Set<string | undefined>(["ENOENT", "ELOOP"]);

/** Undefined where there is no file, or a symbolic link, wherever it leads. */
export async function openPlain(
  disk: Disk,
  path: string,
  access = constants.O_RDONLY,
): Promise<DiskFile | undefined> {
  try {
    return await disk.open(path, access | constants.O_NOFOLLOW | constants.O_NONBLOCK);
  } catch (error) {
    if (absent.has(systemCode(error))) return undefined;
    throw error;
  }
}

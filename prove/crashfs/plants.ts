/** Defects to plant into a run, each a mistake that durable code has been seen to make. The proof must find every one. */
import { constants } from "node:fs";
import type { Disk, DiskFile } from "../../src/stages/world.ts";
import type { Plant } from "./life.ts";

const nothing = async () => {};

/** The disk, with files that are opened in another way. */
const reopened = (
  disk: Disk,
  change: (file: DiskFile, flags: number) => Partial<DiskFile>,
): Disk => ({
  ...disk,
  async open(path, flags, mode) {
    const file = await disk.open(path, flags, mode);
    return { ...file, ...change(file, flags) };
  },
});

const isFolder = (flags: number) => (flags & constants.O_DIRECTORY) !== 0;

export const plants: Readonly<Record<string, Plant>> = {
  "folders are never synced": {
    disk: (disk) => reopened(disk, (_file, flags) => (isFolder(flags) ? { sync: nothing } : {})),
  },
  "files are never synced": {
    disk: (disk) => reopened(disk, (_file, flags) => (isFolder(flags) ? {} : { sync: nothing })),
  },
  "acknowledgements are never synced": {
    disk: (disk) => reopened(disk, () => ({ datasync: nothing })),
  },
  "a short write is taken for a whole one": {
    disk: (disk) =>
      reopened(disk, (file) => ({
        async write(bytes, offset, length, position) {
          await file.write(bytes, offset, length, position);
          return { bytesWritten: length };
        },
      })),
  },
  "a failed sync is taken for one that succeeded": {
    disk: (disk) => reopened(disk, (file) => ({ sync: () => file.sync().catch(nothing) })),
  },
  "a name is given by copying its bytes": {
    disk: (disk) => ({
      ...disk,
      async rename(from, to) {
        const bytes = await disk.readFile(from);
        await disk.rm(to, { force: true });
        const file = await disk.open(to, constants.O_WRONLY | constants.O_CREAT, 0o600);
        for (let at = 0; at < bytes.length;)
          at += (await file.write(bytes, at, bytes.length - at, at)).bytesWritten;
        await file.sync();
        await disk.unlink(from);
      },
    }),
  },
  "a page's bytes go before its acknowledgement": {
    disk: (disk) => ({
      ...disk,
      async open(path, flags, mode) {
        const file = await disk.open(path, flags, mode);
        const write: DiskFile["write"] = async (bytes, ...where) => {
          for (const [, name] of Buffer.from(bytes)
            .toString()
            .matchAll(/"name":"([^"]+)"/g))
            await disk.unlink(path.replace("acks.ndjson", `pages/${name}`)).catch(nothing);
          return await file.write(bytes, ...where);
        };
        return path.endsWith("acks.ndjson") ? { ...file, write } : file;
      },
      unlink: (path) => disk.unlink(path).catch(nothing),
    }),
  },
  "what waits from an earlier attempt is not uploaded": {
    spool: (spool) => Object.assign(spool, { async *backlog() {} }),
  },
};

/** Objects leave a folder: each for ever, and the folder with its last one. */
import { dirname, join } from "node:path";
import { systemCode } from "../../errors.ts";
import { syncFolder } from "../durable-file.ts";
import type { Disk } from "../world.ts";
import { statOf } from "./file-work.ts";

/**
 * Removes a file below `root`, or minds that there is none.
 * @param onFolder hears which folder goes with it, before it does
 */
export async function removeFile(
  disk: Disk,
  root: string,
  segments: readonly string[],
  onFolder: (folder: string) => void,
): Promise<void> {
  const above = segments.slice(0, -1);
  const folder = join(root, ...above);
  await disk.rm(join(root, ...segments), { force: true });
  if ((await statOf(folder, disk)) === undefined) return;
  for await (const _ of await disk.opendir(folder)) return await syncFolder(folder, disk);
  if (above.length === 0) return;
  onFolder(above.join("/"));
  // Somebody may just have laid a file of theirs there.
  await disk.rmdir(folder).catch(mindUsed);
  await syncFolder(dirname(folder), disk);
}

function mindUsed(error: unknown): void {
  if (!["ENOTEMPTY", "EEXIST", "ENOENT"].includes(systemCode(error) ?? "")) throw error;
}

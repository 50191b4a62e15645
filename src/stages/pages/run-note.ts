/** What a source leaves for the run's next attempt: one short text, durable, gone with the run. */
import { join } from "node:path";
import { systemCode } from "../../errors.ts";
import { writeDurably } from "../durable-file.ts";
import { realDisk, type Disk } from "../world.ts";
import { onDisk } from "./spool-room.ts";

const noteOf = (folder: string) => join(folder, "note");

/** Undefined where none was left. */
export function readNote(folder: string, disk: Disk = realDisk): Promise<string | undefined> {
  return onDisk(async () => {
    try {
      return (await disk.readFile(noteOf(folder))).toString();
    } catch (error) {
      if (systemCode(error) === "ENOENT") return undefined;
      throw error;
    }
  });
}

export function writeNote(folder: string, text: string, disk: Disk = realDisk): Promise<void> {
  return onDisk(async () => {
    const incoming = `${noteOf(folder)}.incoming`;
    await disk.unlink(incoming).catch(() => {});
    await writeDurably(incoming, noteOf(folder), [Buffer.from(text)], disk);
  });
}

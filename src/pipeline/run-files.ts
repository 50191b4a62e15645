/** The small files of a pipeline's folder in the spool: written durably as a whole, read as a whole, removed together. */
import { hash } from "node:crypto";
import { join } from "node:path";
import * as v from "valibot";
import { PipelineError, systemCode } from "../errors.ts";
import { statOf } from "../stages/destinations/file-work.ts";
import { makeTopFolder, syncFolder, writeDurably } from "../stages/durable-file.ts";
import { codeText, onDisk, toSpoolError } from "../stages/pages/spool-room.ts";
import type { Disk } from "../stages/world.ts";

/** A folder on its disk. */
export interface Place {
  readonly disk: Disk;
  readonly path: string;
}

/**
 * Undefined where there is none.
 * @throws PipelineError `integrity-failed` for what is not as `schema` says, or not as it was written; `spool-failed`
 * when the disk refuses to read
 */
export async function readJson<T>(
  { disk, path }: Place,
  name: string,
  schema: v.GenericSchema,
): Promise<T | undefined> {
  try {
    const read: unknown = JSON.parse((await disk.readFile(join(path, name))).toString());
    const { digest, ...value } = v.parse(sealed, read);
    if (digest !== undefined && digest !== digestOf(value)) throw new Error("another digest");
    return v.parse(schema, value) as T;
  } catch (cause) {
    const code = systemCode(cause);
    if (code === "ENOENT") return undefined;
    // A disk that refuses to read says nothing of what lies on it.
    if (code !== undefined && code !== "EISDIR") throw toSpoolError(cause);
    throw new PipelineError(
      "integrity-failed",
      `spool: ${join(path, name)} is damaged or not ours; ${remedy(name)}`,
      { cause },
    );
  }
}

/** The run's own record is discarded with the run; what was committed before is remembered beside it. */
function remedy(name: string): string {
  if (name === "run.json") return "--restart discards the unfinished run";
  if (name === "slot.json") return "move it away, then its slot is exported for again";
  if (name.startsWith("carried-")) return "move it away, then the next export holds all rows";
  return "move it away, then the count of generations begins anew";
}

/** Each file holds the digest of what else it holds: nobody should go on with a run, or count from a commit, that was not. */
const sealed = v.looseObject({ digest: v.optional(v.string()) });
const textOf = (value: object) => `${JSON.stringify(value, null, 1)}\n`;
const digestOf = (value: object) => hash("sha256", textOf(value), "hex");

export async function writeJson({ disk, path }: Place, name: string, value: object) {
  const incoming = join(path, `${name}.incoming`);
  const bytes = Buffer.from(textOf({ ...value, digest: digestOf(value) }));
  await onDisk(async () => {
    await disk.unlink(incoming).catch(() => {});
    await writeDurably(incoming, join(path, name), [bytes], disk);
  });
}

export async function hasFile({ disk, path }: Place, name: string): Promise<boolean> {
  return (await onDisk(() => statOf(join(path, name), disk))) !== undefined;
}

/** Removes what is there of these, and makes that durable. */
export async function removeAll({ disk, path }: Place, names: readonly string[]): Promise<void> {
  await onDisk(async () => {
    for (const name of names) await disk.rm(join(path, name), { recursive: true, force: true });
    await syncFolder(path, disk);
  });
}

/** Renames what is damaged to `<name>.damaged`, where nobody reads it, and makes that durable. */
export async function putAside({ disk, path }: Place, name: string): Promise<void> {
  const aside = join(path, `${name}.damaged`);
  await onDisk(async () => {
    await disk.rm(aside, { recursive: true, force: true });
    await disk.rename(join(path, name), aside);
    await syncFolder(path, disk);
  });
}

/** Makes a folder that only its owner can open. */
export async function makePrivate({ disk, path }: Place): Promise<void> {
  try {
    await makeTopFolder(path, disk);
    const found = await disk.lstat(path);
    if (found.isDirectory() && (found.mode & 0o077) === 0) return;
  } catch (error) {
    throw new PipelineError("spool-failed", `spool: cannot make ${path} (${codeText(error)})`, {
      cause: error,
    });
  }
  throw new PipelineError(
    "config-invalid",
    `spool: ${path} must be a folder that only its owner can open; try \`chmod 700\` or another \`spool.dir\``,
  );
}

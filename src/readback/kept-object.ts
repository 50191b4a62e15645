/**
 * An object that is read more than once, such as the manifest: a small one is held, a large one lies in a temporary file
 * without a name, so that memory stays bounded and the store is asked once.
 */
import { randomBytes } from "node:crypto";
import { open, unlink, type FileHandle } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { PipelineError, systemCode } from "../errors.ts";
import { isFull, readPieces } from "../stages/destinations/file-work.ts";
import { writeAll, type Parts, type Reread } from "../stages/durable-file.ts";

/** Of a manifest: twenty thousand pages. */
const heldBytesAtMost = 4 * 2 ** 20;

export interface KeptObject {
  readonly read: Reread;
  /** Lets go of the file; may be called again. */
  readonly close: () => Promise<void>;
}

/**
 * Takes an object in.
 * @throws PipelineError `disk-full` or `config-invalid` where the folder for temporary files takes none; what `parts` throws
 */
export async function keepObject(parts: Parts, signal: AbortSignal): Promise<KeptObject> {
  const held: Uint8Array[] = [];
  let bytes = 0;
  let file: FileHandle | undefined;
  try {
    for await (const part of parts) {
      bytes += part.length;
      // The giver may use its memory again.
      if (bytes <= heldBytesAtMost) held.push(Uint8Array.from(part));
      else {
        file ??= await openNameless();
        for (const one of [...held.splice(0), part]) await onTemporary(writeAll(file, one));
      }
    }
  } catch (error) {
    await file?.close();
    throw error;
  }
  if (!file) return { read: () => held, close: async () => {} };
  const kept = file;
  return { read: () => readPieces(kept, 0, bytes, signal), close: () => kept.close() };
}

/** A file that goes with this process, whatever ends it. */
async function openNameless(): Promise<FileHandle> {
  const path = join(tmpdir(), `spillway-${randomBytes(16).toString("hex")}`);
  const file = await onTemporary(open(path, "wx+", 0o600));
  await unlink(path);
  return file;
}

async function onTemporary<Result>(work: Promise<Result>): Promise<Result> {
  try {
    return await work;
  } catch (cause) {
    throw new PipelineError(
      isFull(cause) ? "disk-full" : "config-invalid",
      `a large manifest needs room for a copy in ${tmpdir()} (${systemCode(cause) ?? "failed"}); expected room there, or another folder in TMPDIR`,
      { cause },
    );
  }
}

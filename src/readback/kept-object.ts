/**
 * An object that is read more than once, such as the manifest: a small one is held, a large one lies in a temporary file
 * without a name, so that memory stays bounded and the store is asked once.
 */
import { randomBytes } from "node:crypto";
import { constants } from "node:fs";
import { statfs } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { PipelineError, systemCode } from "../errors.ts";
import { formatBytes } from "../stages/atoms.ts";
import { isFull, readPieces } from "../stages/destinations/file-work.ts";
import { inBlocks, writeAll, type Parts, type Reread } from "../stages/durable-file.ts";
import { realDisk, type DiskFile } from "../stages/world.ts";

/** Of a manifest: thirty thousand pages. */
const heldBytesAtMost = 4 * 2 ** 20;
const blockBytes = 64 * 2 ** 10;

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
  let file: DiskFile | undefined;
  let bytesAtMost = heldBytesAtMost;
  try {
    for await (const block of inBlocks(parts, blockBytes)) {
      bytes += block.length;
      if (bytes <= heldBytesAtMost) held.push(Uint8Array.from(block));
      else {
        if (!file) bytesAtMost = await onTemporary(halfOfRoom());
        if (bytes > bytesAtMost) throw tooLarge(bytesAtMost);
        file ??= await openNameless();
        for (const one of [...held.splice(0), block]) await onTemporary(writeAll(file, one));
      }
    }
  } catch (error) {
    await file?.close();
    throw error;
  }
  if (!file) return { read: () => held, close: async () => {} };
  const kept = new KeptFile(file, bytes, signal);
  return { read: () => kept.pieces(), close: () => kept.close() };
}

/** Closes what a reader forgot: one that leaves a walk without a word is told by the collector alone. */
const forgotten = new FinalizationRegistry((file: DiskFile) => void file.close().catch(() => {}));

class KeptFile {
  readonly #file: DiskFile;
  readonly #bytes: number;
  readonly #signal: AbortSignal;

  constructor(file: DiskFile, bytes: number, signal: AbortSignal) {
    this.#file = file;
    this.#bytes = bytes;
    this.#signal = signal;
    forgotten.register(this, file, this);
  }

  async *pieces(): AsyncGenerator<Uint8Array> {
    yield* readPieces(this.#file, 0, this.#bytes, this.#signal);
  }

  close(): Promise<void> {
    forgotten.unregister(this);
    return this.#file.close();
  }
}

/** A store may give more than any manifest holds: others need the room too. Endless where nobody knows how much there is. */
async function halfOfRoom(): Promise<number> {
  const { blocks, bavail, bsize } = await statfs(tmpdir());
  return blocks > 0 ? (bavail * bsize) / 2 : Number.POSITIVE_INFINITY;
}

const tooLarge = (bytesAtMost: number) =>
  new PipelineError(
    "disk-full",
    `a copy of the manifest would take more than half of the room left in ${tmpdir()}, ${formatBytes(bytesAtMost)}; expected more room there, or another folder in TMPDIR`,
  );

/** A file that goes with this process, whatever ends it. */
async function openNameless(): Promise<DiskFile> {
  const path = join(tmpdir(), `spillway-${randomBytes(16).toString("hex")}`);
  const { O_CREAT, O_EXCL, O_NOFOLLOW, O_RDWR } = constants;
  const file = await onTemporary(
    realDisk.open(path, O_CREAT | O_EXCL | O_NOFOLLOW | O_RDWR, 0o600),
  );
  try {
    await onTemporary(realDisk.unlink(path));
    return file;
  } catch (error) {
    await file.close();
    throw error;
  }
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

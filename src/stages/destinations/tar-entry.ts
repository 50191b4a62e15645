/**
 * Tar entries as bytes: one made whole with its padding, one read back from a file without reading its body.
 *
 * Headers are plain ustar and depend on the object alone (time 0, user 0, mode 0600). The link name field, which every
 * tool ignores for regular files, carries the SHA-256 of the body: after a crash it tells a whole last entry from one
 * whose bytes never reached the disk.
 */
import { once } from "node:events";
import type { FileHandle } from "node:fs/promises";
import { type Header, extract, pack } from "tar-stream";
import { PipelineError, assert } from "../../errors.ts";
import { partsOf } from "../durable-file.ts";
import type { StoredObject } from "./destination.ts";

const blockBytes = 512;
// Enough for a ustar header and for the extended headers of any name we make; others are read with more.
const usualHeaderBytes = 4096;
const mostHeaderBytes = 2 ** 20;

/** Two blocks of zeros end an archive (POSIX.1-2001, ustar interchange format). */
export const endOfArchive = new Uint8Array(2 * blockBytes);

export interface TarEntry {
  readonly name: string;
  readonly isFile: boolean;
  /** Where the body starts in the archive. */
  readonly start: number;
  readonly bytes: number;
  /** Where the next entry starts. */
  readonly next: number;
  /** SHA-256 of the body (hex) where the entry was made by us. */
  readonly sha256: string | undefined;
}

/** The entry of an object: header, body and padding, in pieces that share the object's memory. */
export async function* entryPieces(object: StoredObject): AsyncGenerator<Uint8Array> {
  yield* headerPieces(object);
  yield* partsOf(object.bytes);
  yield new Uint8Array(-object.bytes.length & (blockBytes - 1));
}

/** What the library packs before it asks for the body. */
async function* headerPieces(object: StoredObject): AsyncGenerator<Uint8Array> {
  const archive = pack();
  const header = {
    name: object.name,
    size: object.bytes.length,
    type: "file" as const,
    mode: 0o600,
    mtime: new Date(0),
    linkname: Buffer.from(object.sha256).toString("hex"),
  };
  archive.entry(header);
  await once(archive, "readable");
  for (let piece: unknown; (piece = archive.read()) !== null;) {
    assert(piece instanceof Uint8Array, "tar-stream packs bytes");
    yield piece;
  }
  archive.destroy();
}

/**
 * Reads the entry that starts at `at` in an archive of `size` bytes.
 * @returns undefined where no whole header lies: the end of the archive or a write that a crash cut.
 * @throws PipelineError `integrity-failed` for a header that is damaged or not tar at all.
 */
export async function readEntry(
  file: FileHandle,
  at: number,
  size: number,
): Promise<TarEntry | undefined> {
  const usual = await readHeader(file, at, Math.min(usualHeaderBytes, size - at));
  if (usual !== undefined || size - at <= usualHeaderBytes) return usual;
  return readHeader(file, at, Math.min(mostHeaderBytes, size - at));
}

async function readHeader(
  file: FileHandle,
  at: number,
  bytes: number,
): Promise<TarEntry | undefined> {
  const blocks = await readBlocks(file, at, bytes);
  const first = blocks.subarray(0, blockBytes);
  if (first.length < blockBytes || first.every((byte) => byte === 0)) return undefined;
  const found = await decodeHeader(blocks);
  if (found === undefined) return undefined;
  const { header, offset } = found;
  if (!Number.isSafeInteger(header.size)) throw damaged();
  const start = at + offset + blockBytes;
  const sha256 = /^[0-9a-f]{64}$/.exec(header.linkname)?.[0];
  return {
    name: header.name,
    isFile: header.type === "file",
    start,
    bytes: header.size,
    next: start + Math.ceil(header.size / blockBytes) * blockBytes,
    sha256,
  };
}

/** Any read may be short; taken for the end of the archive it would cost the entries behind it. */
async function readBlocks(file: FileHandle, at: number, bytes: number): Promise<Uint8Array> {
  const blocks = Buffer.alloc(bytes);
  for (let done = 0; done < bytes;) {
    const { bytesRead } = await file.read(blocks, done, bytes - done, at + done);
    if (bytesRead === 0) {
      throw new PipelineError(
        "destination-failed",
        `the bundle ends after ${at + done} bytes; expected ${at + bytes}, as its size says`,
      );
    }
    done += bytesRead;
  }
  return blocks;
}

function decodeHeader(blocks: Uint8Array) {
  return new Promise<{ header: Header; offset: number } | undefined>((resolve, reject) => {
    const reader = extract();
    reader.on("entry", (header, body) => {
      body.on("error", () => {});
      resolve({ header: { ...header, linkname: header.linkname ?? "" }, offset: body.offset });
      reader.destroy();
    });
    reader.on("error", (error: Error) => {
      // What ends too early is for the caller to judge; what is there must be right.
      if (error.message.startsWith("Unexpected end")) resolve(undefined);
      else reject(damaged(error));
    });
    reader.on("close", () => resolve(undefined));
    reader.end(blocks);
  });
}

function damaged(cause?: Error): PipelineError {
  return new PipelineError(
    "integrity-failed",
    "the bundle holds a damaged header or is no tar file; expected a tar made by this destination",
    { cause },
  );
}

/** Files of a run in the spool that are too large to be held, its manifest and its sums: read and stored piece by piece. */
import { createHash } from "node:crypto";
import { constants } from "node:fs";
import { join } from "node:path";
import {
  readAll,
  writeDurably,
  type Parts,
  type Reread,
  type StreamedContent,
} from "../stages/durable-file.ts";
import { freeBuffer } from "../stages/free-buffer.ts";
import { spoolDamaged } from "../stages/pages/checkpoint.ts";
import { onDisk } from "../stages/pages/spool-room.ts";
import type { Place } from "./run-files.ts";

const pieceBytes = 64 * 1024;

/** Reads a file; holds one piece of it. @throws PipelineError `spool-failed` when the disk does not give it */
export const readOwn = ({ disk, path }: Place, name: string): Reread =>
  async function* () {
    const flags = constants.O_RDONLY | constants.O_NOFOLLOW;
    const file = await onDisk(() => disk.open(join(path, name), flags));
    const piece = Buffer.allocUnsafeSlow(pieceBytes);
    try {
      for (let at = 0, read; at % pieceBytes === 0; at += read.length) {
        read = await onDisk(() => readAll(file, piece, at));
        if (read.length === 0) break;
        yield read;
      }
    } finally {
      await onDisk(() => file.close());
    }
    // Only here: after a failure somebody may still be sending from it.
    freeBuffer(piece);
  };

/** A file to store: its digest says what must be sent. */
export interface OwnFile {
  readonly bytes: StreamedContent;
  readonly sha256: Buffer;
}

/**
 * Writes a file of the run durably, piece by piece.
 * @returns its SHA-256 (hex)
 */
export async function writeOwn(place: Place, name: string, parts: Parts): Promise<string> {
  const digest = createHash("sha256");
  const told = (async function* () {
    for await (const part of parts) {
      digest.update(part);
      yield part;
    }
  })();
  const { disk, path } = place;
  await writeDurably(join(path, "incoming", name), join(path, name), told, disk);
  return digest.digest("hex");
}

/**
 * Reads a file once, and once more whenever it is stored: what was changed meanwhile is refused before the last of it is given.
 * @param wanted SHA-256 (hex) that it must have
 * @throws PipelineError `integrity-failed` where it is another file than was made
 */
export async function describeOwn(place: Place, name: string, wanted: string): Promise<OwnFile> {
  const read = readOwn(place, name);
  const digest = createHash("sha256");
  let length = 0;
  for await (const piece of read()) {
    digest.update(piece);
    length += piece.length;
  }
  const sha256 = digest.digest();
  if (sha256.toString("hex") !== wanted) throw changed(name);
  const readSame: Reread = async function* () {
    const again = createHash("sha256");
    let left = length;
    for await (const piece of read()) {
      again.update(piece);
      left -= piece.length;
      const isSame = left > 0 || (left === 0 && again.digest().equals(sha256));
      if (!isSame) break;
      yield piece;
      if (left === 0) return;
    }
    if (length > 0) throw changed(name);
  };
  return { bytes: { length, read: readSame }, sha256 };
}

const changed = (name: string) => spoolDamaged(`${name} was changed`);

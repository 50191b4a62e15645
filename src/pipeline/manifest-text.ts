/**
 * The text of a manifest, which is never held whole: where its head, its pages and its tail lie, and the lines of its pages.
 * A million pages make 200 MB of it.
 */
import { isUtf8 } from "node:buffer";
import { PipelineError } from "../errors.ts";
import type { Parts, Reread } from "../stages/durable-file.ts";
import { manifestFormat } from "./manifest.ts";

// No string of JSON holds a raw newline, so these marks are where they seem to be.
const pagesOpen = '\n"pages":[\n';
export const pagesClose = "\n],\n";

/** Of a table with a hundred thousand columns. */
const headBytesAtMost = 16 * 2 ** 20;
const tailBytesAtMost = 64 * 2 ** 10;
const lineBytesAtMost = 4 * 2 ** 10;

/** The lines of so many bytes are read at once. */
const stepBytes = 16 * 2 ** 10;

export interface TextParts {
  readonly head: string;
  readonly tail: string;
  /** Where the lines of the pages begin and end, in bytes. */
  readonly start: number;
  readonly end: number;
}

/**
 * Reads a manifest once. Holds its head and its tail.
 * @throws PipelineError `integrity-failed`, `config-invalid` for a version that is unknown
 */
export async function findParts(read: Reread): Promise<TextParts> {
  const headPieces: Uint8Array[] = [];
  const last = keepLast(tailBytesAtMost);
  let seam: Buffer = Buffer.alloc(0);
  let start: number | undefined;
  let length = 0;
  for await (const piece of read()) {
    if (start === undefined) {
      const opens = Buffer.concat([seam, piece]).indexOf(pagesOpen);
      if (opens >= 0) start = length - seam.length + opens + pagesOpen.length;
      headPieces.push(Uint8Array.from(piece));
      seam = Buffer.concat([seam, piece.subarray(-pagesOpen.length)]).subarray(
        1 - pagesOpen.length,
      );
    }
    last.add(piece);
    length += piece.length;
    if (start === undefined && length > headBytesAtMost) throw notCanonical("its layout");
  }
  const head = Buffer.concat(headPieces).subarray(0, start);
  checkVersion(head);
  const ending = last.bytes();
  const closes = ending.lastIndexOf(pagesClose);
  const end = length - ending.length + closes;
  if (start === undefined || closes < 0 || end < start) throw notCanonical("its layout");
  return { head: textOf(head), tail: textOf(ending.subarray(closes)), start, end };
}

/** The last bytes of all that is added, in memory that is used again. */
function keepLast(most: number) {
  const memory = Buffer.alloc(most);
  let kept = 0;
  return {
    add(piece: Uint8Array) {
      const added = piece.subarray(-most);
      const stays = Math.min(kept, most - added.length);
      memory.copyWithin(0, kept - stays, kept);
      memory.set(added, stays);
      kept = stays + added.length;
    },
    bytes: () => memory.subarray(0, kept),
  };
}

function checkVersion(head: Buffer): void {
  const line = head.toString("latin1", 0, 64);
  const version = /^\{"format":"spillway\/(\d{1,9})",\n/.exec(line)?.[1];
  if (version === undefined) throw notCanonical("its first line");
  if (version === "1") return;
  throw new PipelineError(
    "config-invalid",
    `the export is written in format spillway/${version}; this reader knows ${manifestFormat}: use a newer spillway`,
  );
}

/** Otherwise bytes that are no UTF-8 would be read as one and the same character. */
function textOf(bytes: Buffer): string {
  if (isUtf8(bytes)) return bytes.toString();
  throw notCanonical("its text, which is not valid UTF-8,");
}

/** The lines of the pages, as many at once as a piece ends, each with its newline; the last one has none. */
export async function* linesOf(read: Reread, parts: TextParts): AsyncGenerator<readonly string[]> {
  let begun = "";
  for await (const piece of between(read(), parts)) {
    // What is not ASCII has no place here, and does not survive the comparison with what was understood.
    const lines = (begun + piece.toString("latin1")).split(/(?<=\n)/);
    begun = lines.at(-1)?.endsWith("\n") ? "" : lines.pop()!;
    if (begun.length > lineBytesAtMost) throw notCanonical("a page");
    yield lines;
  }
  yield [begun];
}

async function* between(
  parts: Parts,
  { start, end }: Pick<TextParts, "start" | "end">,
): AsyncGenerator<Buffer> {
  let at = 0;
  for await (const { buffer, byteOffset, length } of parts) {
    const piece = Buffer.from(buffer, byteOffset, length);
    const stop = Math.min(end - at, length);
    // Texts of this length die young.
    for (let from = Math.max(start - at, 0); from < stop; from += stepBytes)
      yield piece.subarray(from, Math.min(from + stepBytes, stop));
    at += length;
    if (at >= end) return;
  }
  throw notCanonical("its length, which is another than before,");
}

export function notCanonical(what: string): PipelineError {
  return new PipelineError(
    "integrity-failed",
    `manifest: ${what} is not spelled as format 1 spells it; it is damaged or was not written by spillway`,
  );
}

/**
 * The text of a manifest, which is never held whole: where its head, its pages and its tail lie, and the lines of its pages.
 * A million pages make 200 MB of it.
 */
import { isUtf8 } from "node:buffer";
import { PipelineError } from "../errors.ts";
import { inBlocks, type Parts, type Reread } from "../stages/durable-file.ts";
import { manifestFormat } from "./manifest.ts";

// No string of JSON holds a raw newline, so these marks are where they seem to be.
const pagesOpen = '\n"pages":[\n';
export const pagesClose = "\n],\n";

/** Of a table with fifty thousand columns. */
const headBytesAtMost = 4 * 2 ** 20;
const tailBytesAtMost = 64 * 2 ** 10;
const lineBytesAtMost = 4 * 2 ** 10;

const newline = 0x0a;

/** So much is looked at at once, however it comes. Texts of this length die young. */
const blockBytes = 16 * 2 ** 10;

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
  const headBlocks: Uint8Array[] = [];
  const last = keepLast(tailBytesAtMost);
  let seam: Buffer = Buffer.alloc(0);
  let start: number | undefined;
  let length = 0;
  for await (const block of inBlocks(read(), blockBytes)) {
    if (start === undefined) {
      const opens = Buffer.concat([seam, block]).indexOf(pagesOpen);
      if (opens >= 0) start = length - seam.length + opens + pagesOpen.length;
      seam = Buffer.from(block.subarray(1 - pagesOpen.length));
      headBlocks.push(Uint8Array.from(block));
    }
    last.add(block);
    length += block.length;
    if ((start ?? length) > headBytesAtMost) break;
  }
  const head = Buffer.concat(headBlocks).subarray(0, start);
  checkVersion(head);
  const ending = last.bytes();
  const closes = ending.lastIndexOf(pagesClose);
  const end = length - ending.length + closes;
  const isFound = start !== undefined && head.length <= headBytesAtMost && closes >= 0;
  if (!isFound || end < start!) throw notCanonical("its layout");
  return { head: textOf(head), tail: textOf(ending.subarray(closes)), start: start!, end };
}

/**
 * Passes bytes on as long as they may be a manifest's, for those who keep them before they read them.
 * @throws PipelineError `integrity-failed`, `config-invalid` for a version that is unknown
 */
export async function* whilePlausible(parts: Parts): AsyncGenerator<Uint8Array> {
  let length = 0;
  let unbroken = 0;
  for await (const block of inBlocks(parts, blockBytes)) {
    if (length === 0) checkVersion(Buffer.from(block));
    length += block.length;
    unbroken = block.includes(newline) ? 0 : unbroken + block.length;
    if (length > headBytesAtMost && unbroken > tailBytesAtMost) throw notCanonical("its layout");
    yield block;
  }
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
  for await (const piece of between(inBlocks(read(), blockBytes), parts)) {
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
    const [from, to] = [Math.max(start - at, 0), Math.min(end - at, length)];
    if (from < to) yield piece.subarray(from, to);
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

/**
 * The frame: one page's records, compressed, with the page's identity where stock tools skip it.
 *
 * `zstd` puts the identity in a skippable frame, `gzip` in an extra field; `none` has no place for it, there the
 * manifest alone says which page is which. The bytes are specified in docs/format.md.
 */
import { PipelineError } from "../errors.ts";
import { freeZlibOutput, ownZlibOutput } from "./free.ts";
import { decodeGzip, encodeGzip, splitGzip } from "./gzip.ts";
import type { FrameIdentity, Span } from "./identity.ts";
import { decodeZstd, encodeZstd, splitZstd } from "./zstd.ts";

export type Codec = "zstd" | "gzip" | "none";

/** The most bytes of records one page may hold, by the format. */
export const maxPageBytes = 256 * 2 ** 20;

const maxIdentityBytes = 4096;

/**
 * Frames the records of one page. Gives memory the caller owns whole, except for `none`, which gives `content` itself.
 * `content` may lie in shared memory.
 */
export function encodeFrame(
  content: Uint8Array,
  identity: FrameIdentity,
  codec: Codec,
  level: number,
): Uint8Array {
  if (codec === "none") return content;
  const text = Buffer.from(encodeIdentity(identity));
  return codec === "zstd" ? encodeZstd(content, text, level) : encodeGzip(content, text, level);
}

/**
 * Opens a frame: exactly one, nothing after it, of the size its identity states and of `maxBytes` records at most,
 * checked before memory is taken.
 * @throws PipelineError `integrity-failed` for any other bytes.
 */
export function decodeFrame(bytes: Uint8Array, codec: Codec, maxBytes: number): OpenedFrame {
  const { identity, content } = openFrame(bytes, codec, maxBytes);
  return identity ? { identity, content: ownZlibOutput(content) } : { content };
}

/**
 * Whether `frame` opens to exactly `content`, compared byte by byte.
 * @throws PipelineError `integrity-failed` when it does not open at all.
 */
export function frameHolds(content: Uint8Array, frame: Uint8Array, codec: Codec): boolean {
  const opened = openFrame(frame, codec, content.length).content;
  const same = Buffer.compare(opened, content) === 0;
  if (opened !== frame) freeZlibOutput(opened);
  return same;
}

interface OpenedFrame {
  /** Absent for `none`, where `content` is the frame itself. */
  readonly identity?: FrameIdentity;
  readonly content: Uint8Array;
}

function openFrame(bytes: Uint8Array, codec: Codec, maxBytes: number): OpenedFrame {
  if (codec === "none") {
    checkSize(bytes.length, maxBytes);
    return { content: bytes };
  }
  if (codec === "zstd") {
    const { identity: text, frame } = splitZstd(bytes);
    const identity = decodeIdentity(text);
    checkSize(identity.bytes, maxBytes);
    return { identity, content: decodeZstd(frame, identity.bytes) };
  }
  const { identity: text, rest } = splitGzip(bytes);
  const identity = decodeIdentity(text);
  checkSize(identity.bytes, maxBytes);
  return { identity, content: decodeGzip(rest, identity.bytes) };
}

/** The one spelling of an identity: compact JSON, keys in this order. */
export function encodeIdentity(identity: FrameIdentity): string {
  const { run, page, records, total, span, bytes, chain, final } = identity;
  return JSON.stringify({ spillway: 1, run, page, records, total, span, bytes, chain, final });
}

function decodeIdentity(text: Uint8Array): FrameIdentity {
  if (text.length > maxIdentityBytes) throw badIdentity();
  let parsed: unknown;
  try {
    parsed = JSON.parse(Buffer.from(text).toString());
  } catch (cause) {
    throw badIdentity(cause);
  }
  if (!isIdentity(parsed)) throw badIdentity();
  // One spelling only: no spaces, no further keys, no other order, no invalid UTF-8.
  if (Buffer.compare(Buffer.from(encodeIdentity(parsed)), text) !== 0) throw badIdentity();
  const { run, page, records, total, span, bytes, chain, final } = parsed;
  return { run, page, records, total, span, bytes, chain, final };
}

const isCount = (value: unknown) =>
  typeof value === "number" && Number.isSafeInteger(value) && value >= 0;

const spans: readonly unknown[] = ["whole", "first", "middle", "last"] satisfies Span[];

function isIdentity(value: unknown): value is FrameIdentity {
  if (typeof value !== "object" || value === null) return false;
  const it: Partial<Record<keyof FrameIdentity | "spillway", unknown>> = value;
  const counts = [it.page, it.records, it.total, it.bytes];
  return (
    it.spillway === 1 &&
    typeof it.run === "string" &&
    counts.every(isCount) &&
    spans.includes(it.span) &&
    typeof it.chain === "string" &&
    /^[0-9a-f]{64}$/.test(it.chain) &&
    typeof it.final === "boolean"
  );
}

function checkSize(bytes: number, maxBytes: number): void {
  if (bytes <= maxBytes) return;
  throw new PipelineError(
    "integrity-failed",
    `the page states ${bytes} bytes of records; expected at most ${maxBytes}`,
  );
}

function badIdentity(cause?: unknown): PipelineError {
  return new PipelineError(
    "integrity-failed",
    "the page's identity is not one of format 1; it is damaged or written by a newer version",
    { cause },
  );
}

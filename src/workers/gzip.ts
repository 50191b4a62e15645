/**
 * One page as exactly one gzip member (RFC 1952) that carries its identity in an extra field, subfield `SW`.
 *
 * The member is put together here because zlib cannot write extra fields; time is 0 and the system "unknown", so
 * that equal pages make equal members.
 */
import { crc32, deflateRawSync, inflateRawSync } from "node:zlib";
import { PipelineError } from "../errors.ts";
import { freeZlibOutput, takeMemory, zlibMemoryBytes } from "./free.ts";

// ID1 ID2, CM = deflate, FLG = FEXTRA, MTIME = 0, XFL = 0, OS = 255.
const head = Uint8Array.of(0x1f, 0x8b, 8, 4, 0, 0, 0, 0, 0, 255);
const subfieldAt = head.length + 2;
const identityAt = subfieldAt + 4;
const trailerBytes = 8;

/** The largest size `content` may deflate to (zlib's deflateBound), so that one allocation is enough. */
const boundBytes = (contentBytes: number) => contentBytes + (contentBytes >>> 10) + 1024;

/** Compresses `content` at `level` and puts `identity` (shorter than 65,532 bytes) before it. */
export function encodeGzip(content: Uint8Array, identity: Uint8Array, level: number): Uint8Array {
  const body = deflateRawSync(content, {
    level,
    chunkSize: zlibMemoryBytes(boundBytes(content.length)),
  });
  const bytes = takeMemory(identityAt + identity.length + body.length + trailerBytes);
  const view = new DataView(bytes.buffer);
  bytes.set(head);
  view.setUint16(head.length, identity.length + 4, true);
  bytes.set(Buffer.from("SW"), subfieldAt);
  view.setUint16(subfieldAt + 2, identity.length, true);
  bytes.set(identity, identityAt);
  bytes.set(body, identityAt + identity.length);
  view.setUint32(bytes.length - 8, crc32(content), true);
  view.setUint32(bytes.length - 4, content.length, true);
  freeZlibOutput(body);
  return bytes;
}

/** Splits a member into its identity and the rest (deflated content and trailer), without decompressing. */
export function splitGzip(bytes: Uint8Array): { identity: Uint8Array; rest: Uint8Array } {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const whole = bytes.length >= identityAt + trailerBytes;
  if (!whole || Buffer.compare(bytes.subarray(0, head.length), head) !== 0) {
    throw damaged("does not begin with the gzip header of the format");
  }
  const extraBytes = view.getUint16(head.length, true);
  const identityBytes = view.getUint16(subfieldAt + 2, true);
  const named = bytes[subfieldAt] === 0x53 && bytes[subfieldAt + 1] === 0x57;
  const end = identityAt + identityBytes;
  if (!named || extraBytes !== identityBytes + 4 || end + trailerBytes > bytes.length) {
    throw damaged("has no identity (gzip extra field SW)");
  }
  return { identity: bytes.subarray(identityAt, end), rest: bytes.subarray(end) };
}

/**
 * Inflates the rest of a member to exactly `contentBytes`, which the caller has checked against its limits. Gives a view
 * on the memory that zlib wrote to.
 */
export function decodeGzip(rest: Uint8Array, contentBytes: number): Uint8Array {
  const body = rest.subarray(0, rest.length - trailerBytes);
  const trailer = new DataView(rest.buffer, rest.byteOffset + body.length, trailerBytes);
  const { content, consumedBytes } = inflate(body, contentBytes);
  const sound =
    consumedBytes === body.length &&
    content.length === contentBytes &&
    trailer.getUint32(4, true) === contentBytes &&
    trailer.getUint32(0, true) === crc32(content);
  if (!sound) throw damaged("is not exactly one gzip member of the stated size");
  return content;
}

function inflate(body: Uint8Array, contentBytes: number) {
  try {
    // With `info` zlib also gives its engine, the only way to learn how much of the input it used; the types do not say so.
    // oxlint-disable-next-line typescript/no-unsafe-type-assertion
    const inflated = inflateRawSync(body, {
      info: true,
      maxOutputLength: Math.max(1, contentBytes),
      chunkSize: zlibMemoryBytes(contentBytes + 64),
    }) as unknown as { buffer: Uint8Array; engine: { bytesWritten: number } };
    return { content: inflated.buffer, consumedBytes: inflated.engine.bytesWritten };
  } catch (cause) {
    throw damaged("does not decompress", cause);
  }
}

function damaged(what: string, cause?: unknown): PipelineError {
  return new PipelineError("integrity-failed", `the page ${what}; it is damaged or not a page`, {
    cause,
  });
}

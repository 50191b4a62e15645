/**
 * One page as a skippable frame with its identity, then exactly one zstd frame (RFC 8878) with content size and checksum.
 *
 * The frame's own length is walked here, block by block: decompressors may take a frame that is cut off, or ignore
 * what follows it, and call both a success.
 */
import { constants, zstdCompressSync, zstdDecompressSync } from "node:zlib";
import { PipelineError } from "../errors.ts";
import { freeZlibOutput, takeMemory, zlibMemoryBytes } from "./free.ts";

/** The skippable frame that holds a page identity: magic 0x184D2A53, little endian. */
const skippableMagic = 0x184d2a53;
const frameMagic = 0xfd2fb528;
const skippableHeadBytes = 8;
/** What stock zstd takes without an option, as the exponent and eighths of a window descriptor, and in bytes. */
const widestWindow = 17 << 3;
const widestWindowBytes = 128n * 2n ** 20n;
/** By RFC 8878 (§3.1.1.2.4); zlib takes larger ones, and stock zstd does not. */
const largestBlockBytes = 128 * 1024;

/** The largest size `content` may compress to (ZSTD_COMPRESSBOUND), so that one allocation is enough. */
const boundBytes = (contentBytes: number) => contentBytes + (contentBytes >>> 8) + 1024;

/**
 * At level 1, looking back 256 KiB finds as much in records as zstd's own 512 KiB and takes a tenth less time
 * (bench/RESULTS.md, "Sealing one page"); higher levels are chosen for size.
 */
const quickWindow = { [constants.ZSTD_c_windowLog]: 18 };

/** Compresses `content` at `level` and puts `identity` before it. Gives memory that the caller owns whole. */
export function encodeZstd(content: Uint8Array, identity: Uint8Array, level: number): Uint8Array {
  const options = {
    params: {
      [constants.ZSTD_c_compressionLevel]: level,
      [constants.ZSTD_c_checksumFlag]: 1,
      [constants.ZSTD_c_contentSizeFlag]: 1,
      ...(level === 1 && quickWindow),
    },
    pledgedSrcSize: content.length,
    chunkSize: zlibMemoryBytes(boundBytes(content.length)),
  };
  const frame = zstdCompressSync(content, options);
  const bytes = takeMemory(skippableHeadBytes + identity.length + frame.length);
  const view = new DataView(bytes.buffer);
  view.setUint32(0, skippableMagic, true);
  view.setUint32(4, identity.length, true);
  bytes.set(identity, skippableHeadBytes);
  bytes.set(frame, skippableHeadBytes + identity.length);
  freeZlibOutput(frame);
  return bytes;
}

/** Splits a page frame into its identity and its zstd frame, without decompressing. */
export function splitZstd(bytes: Uint8Array): { identity: Uint8Array; frame: Uint8Array } {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  if (bytes.length < skippableHeadBytes || view.getUint32(0, true) !== skippableMagic) {
    throw damaged("does not begin with an identity (skippable frame 0x184D2A53)");
  }
  const end = skippableHeadBytes + view.getUint32(4, true);
  if (end > bytes.length) throw damaged("ends inside its identity");
  return { identity: bytes.subarray(skippableHeadBytes, end), frame: bytes.subarray(end) };
}

/**
 * Decompresses a frame of exactly `contentBytes`, which the caller has checked against its limits. Gives a view on the
 * memory that zlib wrote to.
 */
export function decodeZstd(frame: Uint8Array, contentBytes: number): Uint8Array {
  const layout = walkFrame(frame);
  if (layout.contentBytes !== BigInt(contentBytes)) {
    throw damaged("states another content size than its identity");
  }
  if (layout.endBytes !== frame.length) throw damaged("has bytes after its zstd frame");
  try {
    return zstdDecompressSync(frame, {
      maxOutputLength: Math.max(1, contentBytes),
      // zlib takes more memory once all of this is used.
      chunkSize: zlibMemoryBytes(contentBytes + 64),
    });
  } catch (cause) {
    throw damaged("does not decompress", cause);
  }
}

/** Reads the frame header (RFC 8878 §3.1.1.1) and hops over the blocks to the end of the checksum. */
function walkFrame(frame: Uint8Array): { contentBytes: bigint; endBytes: number } {
  const view = new DataView(frame.buffer, frame.byteOffset, frame.byteLength);
  try {
    if (view.getUint32(0, true) !== frameMagic) throw damaged("holds no zstd frame");
    const descriptor = view.getUint8(4);
    // Checksum set; no dictionary; unused and reserved bits clear.
    if ((descriptor & 0b0001_1111) !== 0b0000_0100) {
      throw damaged("has a zstd header other than the format allows (checksum, no dictionary)");
    }
    const single = (descriptor & 0b0010_0000) !== 0;
    const sizeAt = single ? 5 : 6;
    const size = contentSize(view, sizeAt, descriptor >>> 6, single);
    const isTooWide = single
      ? size.bytes > widestWindowBytes
      : view.getUint8(sizeAt - 1) > widestWindow;
    if (isTooWide) throw damaged("has a zstd window of more than 128 MiB");
    return { contentBytes: size.bytes, endBytes: hopBlocks(view, sizeAt + size.fieldBytes) + 4 };
  } catch (error) {
    if (error instanceof RangeError) throw damaged("ends inside its zstd frame", error);
    throw error;
  }
}

function contentSize(view: DataView, at: number, flag: number, single: boolean) {
  if (flag === 3) return { bytes: view.getBigUint64(at, true), fieldBytes: 8 };
  if (flag === 2) return { bytes: BigInt(view.getUint32(at, true)), fieldBytes: 4 };
  if (flag === 1) return { bytes: BigInt(view.getUint16(at, true) + 256), fieldBytes: 2 };
  if (single) return { bytes: BigInt(view.getUint8(at)), fieldBytes: 1 };
  throw damaged("states no content size");
}

function hopBlocks(view: DataView, start: number): number {
  for (let at = start; ;) {
    const header = view.getUint16(at, true) | (view.getUint8(at + 2) << 16);
    const type = (header >>> 1) & 3;
    if (type === 3) throw damaged("has a zstd block of reserved type");
    if (header >>> 3 > largestBlockBytes) throw damaged("has a zstd block of more than 128 KiB");
    // A run-length block stores one byte, whatever its size.
    at += 3 + (type === 1 ? 1 : header >>> 3);
    if (header & 1) return at;
  }
}

function damaged(what: string, cause?: unknown): PipelineError {
  return new PipelineError("integrity-failed", `the page ${what}; it is damaged or not a page`, {
    cause,
  });
}

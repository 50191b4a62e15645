/**
 * A page's checkpoint: what the run must know of it after a crash. It lies behind the sealed bytes in the same file,
 * so that page and progress become durable at once; after the acknowledgement its line in the journal takes over.
 *
 * In a page file: sealed bytes ‖ checkpoint (JSON) ‖ HMAC-SHA256 (32 bytes) ‖ length of the JSON (u32 LE) ‖ `SPWYPAGE`.
 * The HMAC's key is the run's own; it opens nothing but checkpoints.
 */
import { createHmac, timingSafeEqual, type BinaryLike, type KeyObject } from "node:crypto";
import { PipelineError, assert } from "../../errors.ts";
import type { DurablePage, FinalFacts, PageIdentity, SealedPage } from "../nouns.ts";

/** A `KeyObject` is made once and used for every page, which takes a quarter of the time. */
export type HmacKey = BinaryLike | KeyObject;

const magic = Buffer.from("SPWYPAGE", "latin1");
const macBytes = 32;
const footBytes = macBytes + 4 + magic.length;
/** Facts of a query with 1664 long column names fit easily. */
const jsonBytesMost = 4 * 1024 * 1024;

export interface Checkpoint extends Omit<PageIdentity, "chain"> {
  readonly name: string;
  readonly sealedBytes: number;
  /** Hex. */
  readonly sealedDigest: string;
  /** Keyed digest of the chain: equal exactly when this and all earlier pages hold the same records. Hex. */
  readonly replay: string;
  /** The first of the pages that became durable together with this one. */
  readonly since: number;
  readonly facts?: FinalFacts;
  /** Where the run can go on behind this page, sealed. */
  readonly point?: string;
}

/** The most pages of an export: their numbers have eight digits, so that names sort in page order. */
export const maxPages = 100_000_000;

/** The object name of a page, counted from 0: `00000000.ndjson.zst.age`. */
export const pageName = (page: number, extension: string): string =>
  `${String(page).padStart(8, "0")}.${extension}`;

const pageFile = /^(\d{8,})\.[a-z0-9]+(?:\.[a-z0-9]+)*$/;

/** The page that an object is, by its name; undefined where it is none. */
export function pageNumber(name: string): number | undefined {
  const digits = pageFile.exec(name)?.[1];
  return digits === undefined ? undefined : Number(digits);
}

/** The digest that a page made again is compared by. */
export function replayDigest(key: HmacKey, { chain, total, bytes, final }: PageIdentity): string {
  return createHmac("sha256", key)
    .update(`replay ${chain} ${total} ${bytes} ${final}`)
    .digest("hex");
}

export function makeCheckpoint(
  key: HmacKey,
  page: SealedPage,
  { since = page.page, point }: { readonly since?: number; readonly point?: string } = {},
): Checkpoint {
  const { page: number, records, total, span, bytes, final, facts } = page;
  return {
    page: number,
    name: pageName(number, page.extension),
    records,
    total,
    span,
    bytes,
    final,
    sealedBytes: page.content.length,
    sealedDigest: Buffer.from(page.sealedDigest).toString("hex"),
    replay: replayDigest(key, page),
    since,
    ...(facts && { facts }),
    ...(point !== undefined && { point }),
  };
}

export function toDurablePage(checkpoint: Checkpoint): DurablePage {
  const { page, name, records, total, span, bytes, final, sealedBytes } = checkpoint;
  const sealedDigest = Buffer.from(checkpoint.sealedDigest, "hex");
  return { page, name, records, total, span, bytes, final, sealedBytes, sealedDigest };
}

/** What follows the sealed bytes in a page file. */
export function encodeTrailer(key: HmacKey, checkpoint: Checkpoint): Uint8Array {
  const json = JSON.stringify(checkpoint);
  const jsonBytes = Buffer.byteLength(json);
  assert(jsonBytes <= jsonBytesMost, "a checkpoint is small");
  const trailer = Buffer.allocUnsafe(jsonBytes + footBytes);
  trailer.write(json);
  mac(key, trailer.subarray(0, jsonBytes)).copy(trailer, jsonBytes);
  trailer.writeUInt32LE(jsonBytes, jsonBytes + macBytes);
  magic.copy(trailer, jsonBytes + macBytes + 4);
  return trailer;
}

/**
 * Finds the checkpoint at the end of a page file, given the file's size and a way to read a range of it.
 * @returns undefined when the file is torn, changed or not of this run
 */
export async function decodeTrailer(
  key: HmacKey,
  fileBytes: number,
  read: (position: number, length: number) => Promise<Buffer>,
): Promise<Checkpoint | undefined> {
  if (fileBytes < footBytes) return undefined;
  const foot = await read(fileBytes - footBytes, footBytes);
  // It may have been cut since its size was asked for.
  if (foot.length < footBytes) return undefined;
  const jsonBytes = foot.readUInt32LE(macBytes);
  const start = fileBytes - footBytes - jsonBytes;
  if (!foot.subarray(macBytes + 4).equals(magic) || jsonBytes > jsonBytesMost || start < 0)
    return undefined;
  const json = await read(start, jsonBytes);
  if (!timingSafeEqual(mac(key, json), foot.subarray(0, macBytes))) return undefined;
  const checkpoint = JSON.parse(json.toString()) as Checkpoint;
  return checkpoint.sealedBytes === start ? checkpoint : undefined;
}

/**
 * One line of the journal of acknowledgements: pages that are acknowledged together. A line is whole or torn, whichever
 * of its blocks a power cut left out; several lines written at once could lose one in the middle.
 */
export function encodeLine(key: HmacKey, checkpoints: readonly Checkpoint[]): string {
  // A column's name may hold what readers of lines take for the end of one.
  const json = JSON.stringify(checkpoints).replace(/[\u2028\u2029]/g, (mark) =>
    mark === "\u2028" ? "\\u2028" : "\\u2029",
  );
  return `${mac(key, Buffer.from(json)).toString("hex")} ${json}\n`;
}

/** @returns undefined when the line is torn, changed or not of this run */
export function decodeLine(key: HmacKey, line: string): readonly Checkpoint[] | undefined {
  const json = line.slice(macBytes * 2 + 1);
  const given = Buffer.from(line.slice(0, macBytes * 2), "hex");
  if (line[macBytes * 2] !== " " || given.length !== macBytes) return undefined;
  if (!timingSafeEqual(given, mac(key, Buffer.from(json)))) return undefined;
  return JSON.parse(json) as Checkpoint[];
}

function mac(key: HmacKey, json: Uint8Array): Buffer {
  return createHmac("sha256", key).update("checkpoint ").update(json).digest();
}

export function spoolDamaged(what: string): PipelineError {
  return new PipelineError(
    "integrity-failed",
    `spool: ${what}; the run cannot go on, though pages of it may lie at the destination already; begin again with \`spillway run --restart\``,
  );
}

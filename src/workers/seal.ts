/** One page in one worker hop: frame (identity + compress), seal (age), digest, and open it again to check. */
import { hash } from "node:crypto";
import { PipelineError } from "../stages/errors.ts";
import type { PageIdentity } from "../stages/nouns.ts";
import { openAgeBody, sealAge } from "./age.ts";
import { decodeFrame, encodeFrame } from "./frame.ts";

export type Codec = "zstd" | "gzip" | "none";

/** What the frame carries beside the records, so that a page proves its place alone. */
export interface FrameIdentity extends PageIdentity {
  readonly run: string;
}

/** Who may open a page: age recipients, or one passphrase. Never both. */
export interface Recipients {
  readonly to?: readonly string[];
  readonly passphrase?: string;
}

export interface SealTask {
  readonly content: Uint8Array;
  /** SHA-256 of the records in the page. */
  readonly digest: Uint8Array;
  readonly identity: FrameIdentity;
  /** Absent: the content is framed already. */
  readonly compress?: { readonly codec: Codec; readonly level: number };
  /** Absent: the frame is not encrypted here. */
  readonly encrypt?: Recipients;
}

export interface SealedResult {
  /** Owned whole: its buffer holds nothing else. */
  readonly bytes: Uint8Array;
  /** SHA-256 of `bytes`. */
  readonly sealedDigest: Uint8Array;
  /** When the worker had it, in epoch milliseconds. */
  readonly startMillis: number;
  readonly endMillis: number;
}

const now = () => performance.timeOrigin + performance.now();

/**
 * Frames, seals and checks one page.
 * @throws PipelineError `integrity-failed` when what was sealed does not open to the same bytes (bad memory, codec bug)
 */
export async function sealPage(task: SealTask): Promise<SealedResult> {
  const startMillis = now();
  const { compress, encrypt, identity } = task;
  const frame = compress
    ? encodeFrame(task.content, identity, compress.codec, compress.level)
    : task.content;
  if (compress) checkFrame(frame, task);
  const bytes = encrypt ? await sealChecked(frame, encrypt) : owned(frame);
  return {
    bytes,
    sealedDigest: hash("sha256", bytes, "buffer"),
    startMillis,
    endMillis: now(),
  };
}

function checkFrame(frame: Uint8Array, task: SealTask): void {
  const { content } = decodeFrame(frame, task.compress!.codec, task.identity.bytes);
  const digest = hash("sha256", content, "buffer");
  if (!digest.equals(task.digest)) throw damaged(task.identity.page, "compressed");
}

async function sealChecked(frame: Uint8Array, recipients: Recipients): Promise<Uint8Array> {
  const { sealed, fileKey, headerBytes } = await sealAge(frame, recipients);
  const opened = openAgeBody(sealed, headerBytes, fileKey);
  if (Buffer.compare(opened, frame) !== 0) throw damaged(-1, "encrypted");
  return sealed;
}

function damaged(page: number, step: string): PipelineError {
  return new PipelineError(
    "integrity-failed",
    `seal: page ${page} was ${step} but does not open to the same bytes; suspect this machine's memory, nothing was stored`,
  );
}

/** A copy with a buffer of its own where the bytes are a view on something larger or shared. */
function owned(bytes: Uint8Array): Uint8Array {
  const whole = bytes.buffer instanceof ArrayBuffer && bytes.byteLength === bytes.buffer.byteLength;
  return whole ? bytes : new Uint8Array(bytes);
}

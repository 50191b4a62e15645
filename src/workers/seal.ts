/** One page in one worker hop: frame (identity + compress), seal (age), digest, and open it again to check. */
import { hash } from "node:crypto";
import { PipelineError } from "../errors.ts";
import { ageBodyHolds, sealAge, type Recipients } from "./age.ts";
import { encodeFrame, frameHolds, type Codec } from "./frame.ts";
import { freeBuffer } from "./free.ts";
import type { FrameIdentity } from "./identity.ts";

export interface SealTask {
  readonly content: Uint8Array;
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
  const { content, compress, encrypt, identity } = task;
  const frame = compress ? encodeFrame(content, identity, compress.codec, compress.level) : content;
  if (compress) {
    check(identity.page, "compressed", () => frameHolds(content, frame, compress.codec));
  }
  const bytes = encrypt ? await sealChecked(frame, encrypt, identity.page) : owned(frame);
  if (encrypt && frame !== content) freeBuffer(frame);
  const sealedDigest = hash("sha256", bytes, "buffer");
  return { bytes, sealedDigest, startMillis, endMillis: now() };
}

async function sealChecked(
  frame: Uint8Array,
  recipients: Recipients,
  page: number,
): Promise<Uint8Array> {
  const { sealed, fileKey, headerBytes } = await sealAge(frame, recipients);
  check(page, "encrypted", () => ageBodyHolds(frame, sealed, headerBytes, fileKey));
  return sealed;
}

/**
 * Opens what was just made and compares it with the page where it lies. What happened to the page before, this cannot
 * see: the chain in its identity tells the reader.
 */
function check(page: number, step: string, holds: () => boolean): void {
  let cause: unknown;
  try {
    if (holds()) return;
  } catch (error) {
    cause = error;
  }
  throw new PipelineError(
    "integrity-failed",
    `seal: page ${page} was ${step} but does not open to the same bytes; suspect this machine's memory, nothing was stored`,
    { cause },
  );
}

/** A copy with a buffer of its own where the bytes are a view on something larger or shared. */
function owned(bytes: Uint8Array): Uint8Array {
  const whole = bytes.buffer instanceof ArrayBuffer && bytes.byteLength === bytes.buffer.byteLength;
  return whole ? bytes : new Uint8Array(bytes);
}

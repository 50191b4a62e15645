/** One stored page back to its records: open the age file, open the frame. The reverse of `seal.ts`. */
import { openAge, type Identities } from "./age.ts";
import { decodeFrame } from "./frame.ts";
import { freeBuffer } from "./free.ts";
import type { Codec } from "./frame.ts";
import type { FrameIdentity } from "./identity.ts";

/** How pages were made, as the manifest says, and who opens them. */
export interface OpenHow {
  readonly compress: Codec;
  readonly encrypt: "age" | "none";
  readonly identities: Identities;
  /** The most bytes of records one page may hold. */
  readonly maxBytes: number;
}

export interface OpenedPage {
  /** Absent with `compress: none`, which has no place for it. */
  readonly identity?: FrameIdentity;
  readonly content: Uint8Array;
}

/**
 * Opens one page. Takes `sealed` over: its memory is given back, or is that of `content`.
 * @throws PipelineError `key-wrong`, `integrity-failed` or `config-invalid` (an identity that cannot be read).
 */
export async function openPage(sealed: Uint8Array, how: OpenHow): Promise<OpenedPage> {
  const frame = how.encrypt === "age" ? await openAge(sealed, how.identities) : sealed;
  if (frame !== sealed) freeBuffer(sealed);
  const opened = decodeFrame(frame, how.compress, how.maxBytes);
  if (opened.content !== frame) freeBuffer(frame);
  return opened;
}

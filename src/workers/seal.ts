/** One page in one worker hop: frame (identity + compress), seal (age), digest, and open it again to check. */
import type { PageIdentity } from "../stages/nouns.ts";

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
  readonly bytes: Uint8Array;
  /** SHA-256 of `bytes`. */
  readonly sealedDigest: Uint8Array;
  /** When the worker had it, in epoch milliseconds. */
  readonly startMillis: number;
  readonly endMillis: number;
}

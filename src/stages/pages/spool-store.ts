/**
 * The run's durable folder: pages with their checkpoints, the journal of acknowledgements, the run record, the lock.
 *
 * A page is DURABLE when `store` returns, ACKED when `acknowledge` returns; only then are its bytes removed.
 * There is no second ledger: a page's progress lies in the page's own file until its journal line is durable.
 */
import type { FileHandle } from "node:fs/promises";
import { open, unlink } from "node:fs/promises";
import { join } from "node:path";
import { hash } from "node:crypto";
import { setTimeout as sleep } from "node:timers/promises";
import { PipelineError, assert, isAbort, systemCode } from "../errors.ts";
import { formatBytes } from "../atoms.ts";
import type { DurablePage, FinalFacts, Page, Receipt, SealedPage } from "../nouns.ts";
import {
  encodeLine,
  encodeTrailer,
  makeCheckpoint,
  replayDigest,
  spoolDamaged,
  toDurablePage,
  type Checkpoint,
} from "./checkpoint.ts";
import { writeAll, writeDurably } from "./durable-file.ts";
import { readJournal, readPageFile, recoverPages, type Recovered } from "./spool-recovery.ts";

export interface Spool {
  readonly maxBytes: number;
  /** Bytes of pages that lie in the spool now. */
  readonly usedBytes: number;
  readonly peakBytes: number;
  /** fsync groups so far, and the time they took. */
  readonly flushes: number;
  readonly flushMillis: number;
  /** Pages the destination has. */
  readonly acknowledged: number;
  /** Pages that would survive a power cut, whether acknowledged or not. */
  readonly durable: number;
  /** What the last page knows, once it is durable; then the source is needed no more. */
  readonly facts: FinalFacts | undefined;
  /** Whether a page made again equals the durable one of the same number, or is new. Asked in page order. */
  replay(page: Page): Promise<"equal" | "different" | "new">;
  /** Pages that were durable but not acknowledged when the run was taken up. */
  backlog(): AsyncIterable<DurablePage>;
  /** Makes a page durable: written, synced, named, folder synced. Waits for room, up to a deadline. */
  store(page: SealedPage, signal: AbortSignal): Promise<DurablePage>;
  /** Reads a durable page back and re-hashes it; changed bytes are never returned. */
  read(page: DurablePage): Promise<Uint8Array>;
  /** Records durably that the destination has the page, then frees its bytes. Called in page order. */
  acknowledge(page: DurablePage): Promise<Receipt>;
  /** Every acknowledged page in order, streamed from the journal. */
  checkpoints(): AsyncIterable<Checkpoint>;
  close(): Promise<void>;
}

export interface SpoolOptions {
  /** The run's folder, with `pages/` and `incoming/` in it. */
  readonly folder: string;
  readonly maxBytes: number;
  /** How long to wait for room before the run stops, resumable. */
  readonly fullTimeoutMillis: number;
  /** The run's own key for checkpoints. */
  readonly key: Uint8Array;
}

const retryMillis = 500;

/** Opens the folder, repairs what a crash left, and knows what is durable and acknowledged. */
export async function openSpool(options: SpoolOptions): Promise<Spool> {
  const { folder, key, maxBytes } = options;
  const journalPath = join(folder, "acks.ndjson");
  const recovered = await recoverPages(folder, key);
  const journal = await open(journalPath, "a", 0o600);
  const room = createRoom(maxBytes, options.fullTimeoutMillis, recovered.usedBytes);
  const digests = replayDigests(journalPath, key, recovered);
}

function diskFull(cause: unknown): PipelineError {
  return new PipelineError("disk-full", "spool: the disk is full; make room and run again", {
    cause,
  });
}

function spoolFailed(cause: unknown): PipelineError {
  if (cause instanceof PipelineError) return cause;
  return new PipelineError(
    "spool-failed",
    `spool: the disk refused a write (${systemCode(cause) ?? "unknown error"}); what was durable stays so, run again`,
    { cause },
  );
}

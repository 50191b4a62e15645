/** The run's durable folder: pages with their checkpoints, acknowledgements, the run record, the lock. */
import type { DurablePage, Receipt, SealedPage } from "../nouns.ts";

export interface Spool {
  readonly maxBytes: number;
  /** Bytes of pages that lie in the spool now. */
  readonly usedBytes: number;
  readonly peakBytes: number;
  /** fsync groups so far, and the time they took. */
  readonly flushes: number;
  readonly flushMillis: number;
  /** Makes a page durable: written, synced, linked into place, folder synced. Waits for room, up to a deadline. */
  store(page: SealedPage, signal: AbortSignal): Promise<DurablePage>;
  /** Reads a durable page back and re-hashes it; poisoned or changed bytes are never returned. */
  read(page: DurablePage): Promise<Uint8Array>;
  /** Records durably that the destination has the page, then frees its bytes. Called in page order. */
  acknowledge(page: DurablePage): Promise<Receipt>;
}

/**
 * The run's durable folder: pages with their checkpoints, and the journal of acknowledgements.
 *
 * A page is DURABLE when `store` returns, ACKED when `acknowledge` returns; only then are its bytes removed.
 * There is no second ledger: a page's progress lies in the page's own file until its journal line is durable.
 */
import { hash } from "node:crypto";
import { constants } from "node:fs";
import { open, unlink, type FileHandle } from "node:fs/promises";
import { join } from "node:path";
import { assert } from "../../errors.ts";
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
import { syncFolder, writeAll, writeDurably } from "../durable-file.ts";
import { readJournal, readPageFile, recoverPages, type Recovered } from "./spool-recovery.ts";
import { createRoom } from "./spool-room.ts";

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
  acknowledge(page: DurablePage, signal: AbortSignal): Promise<Receipt>;
  /** Every acknowledged page in order, streamed from the journal. */
  checkpoints(): AsyncIterable<Checkpoint>;
  close(): Promise<void>;
}

export interface SpoolOptions {
  /** The run's folder; `pages/` and `incoming/` are made in it. */
  readonly folder: string;
  readonly maxBytes: number;
  /** How long to wait for room before the run stops, resumable. */
  readonly fullTimeoutMillis: number;
  /** The run's own key for checkpoints. */
  readonly key: Uint8Array;
}

/** Opens the folder, repairs what a crash left, and knows what is durable and acknowledged. */
export async function openSpool(options: SpoolOptions): Promise<Spool> {
  const { folder, key, maxBytes } = options;
  const journalPath = join(folder, "acks.ndjson");
  const recovered = await recoverPages(folder, key);
  const journal = await open(journalPath, "a", 0o600);
  // The journal is believed where a page is gone, so its name must be as durable as its lines.
  await syncFolder(folder);
  const room = createRoom(maxBytes, options.fullTimeoutMillis, recovered.usedBytes);
  const digests = replayDigests(journalPath, key, recovered);
  const pathOf = (name: string) => join(folder, "pages", name);
  let { acknowledged, durable, facts } = recovered;
  const writer = createPageWriter(folder, key);

  const checkpointOf = async (name: string) =>
    (await readPageFile(pathOf(name), key)) ?? torn(name);

  return {
    maxBytes,
    get usedBytes() {
      return room.usedBytes;
    },
    get peakBytes() {
      return room.peakBytes;
    },
    get flushes() {
      return writer.flushes;
    },
    get flushMillis() {
      return writer.flushMillis;
    },
    get acknowledged() {
      return acknowledged;
    },
    get durable() {
      return durable;
    },
    get facts() {
      return facts;
    },
    async replay(page) {
      if (page.page >= recovered.durable) return "new";
      const { value } = await digests.next();
      return value === replayDigest(key, page) ? "equal" : "different";
    },
    async *backlog() {
      for (const { name } of recovered.pages) yield toDurablePage(await checkpointOf(name));
    },
    async store(page, signal) {
      assert(page.page === durable, "pages become durable in order");
      const checkpoint = makeCheckpoint(key, page);
      await room.take(checkpoint.sealedBytes, signal);
      await room.whenDiskHasRoom(() => writer.write(page, checkpoint), signal);
      durable += 1;
      facts = page.facts;
      return toDurablePage(checkpoint);
    },
    read: (page) => readSealed(pathOf(page.name), page),
    async acknowledge(page, signal) {
      assert(page.page === acknowledged, "pages are acknowledged in order");
      const line = encodeLine(key, await checkpointOf(page.name));
      await room.whenDiskHasRoom(() => appendLine(journal, line), signal);
      acknowledged += 1;
      await unlink(pathOf(page.name));
      room.give(page.sealedBytes);
      return page;
    },
    checkpoints: () => readJournal(journalPath, key),
    close: () => journal.close(),
  };
}

/** Writes page files, and counts the syncs they cost. */
function createPageWriter(folder: string, key: Uint8Array) {
  const writer = {
    flushes: 0,
    flushMillis: 0,
    async write(page: SealedPage, checkpoint: Checkpoint): Promise<void> {
      const started = performance.now();
      const { name } = checkpoint;
      const parts = [page.content, encodeTrailer(key, checkpoint)];
      await writeDurably(join(folder, "incoming", name), join(folder, "pages", name), parts);
      writer.flushes += 1;
      writer.flushMillis += performance.now() - started;
    },
  };
  return writer;
}

function torn(name: string): never {
  throw spoolDamaged(`page ${name} does not hold what was written to it`);
}

/** Replay digests of the pages that were durable when the run was taken up, in page order. */
async function* replayDigests(
  journalPath: string,
  key: Uint8Array,
  recovered: Recovered,
): AsyncGenerator<string> {
  let left = recovered.acknowledged;
  if (left > 0) {
    for await (const { replay } of readJournal(journalPath, key)) {
      yield replay;
      left -= 1;
      if (left === 0) break;
    }
  }
  for (const { replay } of recovered.pages) yield replay;
}

/** A torn line would make the next one unreadable, so a failed append is cut off again before it is tried again. */
async function appendLine(journal: FileHandle, line: string): Promise<void> {
  const { size } = await journal.stat();
  try {
    await writeAll(journal, Buffer.from(line));
    await journal.datasync();
  } catch (error) {
    await journal.truncate(size);
    throw error;
  }
}

async function readSealed(path: string, page: DurablePage): Promise<Uint8Array> {
  const file = await open(path, constants.O_RDONLY | constants.O_NOFOLLOW);
  try {
    const bytes = Buffer.allocUnsafeSlow(page.sealedBytes);
    for (let at = 0; at < bytes.length;) {
      const { bytesRead } = await file.read(bytes, at, bytes.length - at, at);
      if (bytesRead === 0) torn(page.name);
      at += bytesRead;
    }
    if (!hash("sha256", bytes, "buffer").equals(page.sealedDigest)) torn(page.name);
    return bytes;
  } finally {
    await file.close();
  }
}

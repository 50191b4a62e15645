/**
 * The run's durable folder: pages with their checkpoints, and the journal of acknowledgements.
 *
 * A page is DURABLE when `store` returns, ACKED when `acknowledge` returns; only then are its bytes removed.
 * There is no second ledger: a page's progress lies in the page's own file until its journal line is durable.
 */
import { hash } from "node:crypto";
import { open, unlink } from "node:fs/promises";
import { join } from "node:path";
import { assert } from "../../errors.ts";
import { syncFolder, writeDurably } from "../durable-file.ts";
import type { DurablePage, FinalFacts, Page, Receipt, SealedPage } from "../nouns.ts";
import {
  encodeLine,
  encodeTrailer,
  makeCheckpoint,
  pageName,
  replayDigest,
  spoolDamaged,
  toDurablePage,
  type Checkpoint,
} from "./checkpoint.ts";
import { createJournal, replayDigests, type Journal } from "./spool-journal.ts";
import {
  openPlain,
  readJournal,
  readPageFile,
  recoverPages,
  type Recovered,
} from "./spool-recovery.ts";
import { createRoom, diskBytes, onDisk, type Room } from "./spool-room.ts";
import { createUnderWay, type UnderWay } from "./under-way.ts";

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
  /** A page that is durable and not acknowledged, read from its own file: whoever waits for it keeps its number only. */
  page(number: number): Promise<DurablePage>;
  /** Makes a page durable: written, synced, named, folder synced. Waits for room, up to a deadline. */
  store(page: SealedPage, signal: AbortSignal): Promise<DurablePage>;
  /** Reads a durable page back and re-hashes it; changed bytes are never returned. */
  read(page: DurablePage): Promise<Uint8Array>;
  /** Records durably that the destination has the page, then frees its bytes. Called in page order. */
  acknowledge(page: DurablePage, signal: AbortSignal): Promise<Receipt>;
  /** Every acknowledged page in order, streamed from the journal. */
  checkpoints(): AsyncIterable<Checkpoint>;
  /** Waits a few seconds for what is under way, then nothing more is stored. A second call does nothing. */
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
  const { folder, key } = options;
  const recovered = await onDisk(() => recoverPages(folder, key));
  const journal = await onDisk(() => openJournal(folder));
  return createSpool(options, recovered, journal);
}

async function openJournal(folder: string): Promise<Journal> {
  const file = await open(join(folder, "acks.ndjson"), "a", 0o600);
  // The journal is believed where a page is gone, so its name must be as durable as its lines.
  await syncFolder(folder);
  return createJournal(file, (await file.stat()).size);
}

function createSpool(options: SpoolOptions, recovered: Recovered, journal: Journal): Spool {
  const { folder, key, maxBytes } = options;
  const journalPath = join(folder, "acks.ndjson");
  const room = createRoom(maxBytes, options.fullTimeoutMillis, recovered.usedBytes);
  const writer = createPageWriter(folder);
  const underWay = createUnderWay();
  const state: State = { ...recovered, extension: recovered.extension ?? "" };
  const inside = { folder, key, room, journal, writer, underWay, state };
  const digests = replayDigests(recovered.durable, {
    journalPath,
    key,
    journal,
    acknowledged: () => state.acknowledged,
    readPage: async (n) => (await readNamed(inside, pageName(n, state.extension)))?.checkpoint,
  });
  const page = async (number: number) => {
    const name = pageName(number, state.extension);
    return toDurablePage(((await readNamed(inside, name)) ?? torn(name)).checkpoint);
  };
  let closing: Promise<void> | undefined;
  const close = async () => {
    await underWay.end();
    await digests.return();
    await journal.close();
  };

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
      return state.acknowledged;
    },
    get durable() {
      return state.durable;
    },
    get facts() {
      return state.facts;
    },
    async replay(page) {
      if (page.page >= recovered.durable) return "new";
      const { value } = await digests.next();
      return value === replayDigest(key, page) ? "equal" : "different";
    },
    async *backlog() {
      for (let n = recovered.acknowledged; n < recovered.durable; n += 1) yield await page(n);
    },
    page,
    store: (page, signal) => underWay.add(() => store(inside, page, signal)),
    read: (page) => onDisk(() => readSealed(join(folder, "pages", page.name), page)),
    acknowledge: (page, signal) => underWay.add(() => acknowledge(inside, page, signal)),
    async *checkpoints() {
      for await (const { checkpoint } of readJournal(journalPath, key)) yield checkpoint;
    },
    close: () => (closing ??= close()),
  };
}

interface State {
  acknowledged: number;
  durable: number;
  /** What the names of pages end with. */
  extension: string;
  facts: FinalFacts | undefined;
}

interface Inside {
  readonly folder: string;
  readonly key: Uint8Array;
  readonly room: Room;
  readonly journal: Journal;
  readonly writer: ReturnType<typeof createPageWriter>;
  readonly underWay: UnderWay;
  readonly state: State;
}

const readNamed = ({ folder, key }: Inside, name: string) =>
  onDisk(() => readPageFile(join(folder, "pages", name), key));

async function store(
  { key, room, writer, underWay, state }: Inside,
  page: SealedPage,
  signal: AbortSignal,
): Promise<DurablePage> {
  assert(page.page === state.durable, "pages become durable in order");
  const checkpoint = makeCheckpoint(key, page);
  const trailer = encodeTrailer(key, checkpoint);
  await room.take(diskBytes(page.content.length + trailer.length), signal);
  await room.whenDiskHasRoom(async () => {
    underWay.check();
    await writer.write(checkpoint.name, [page.content, trailer]);
  }, signal);
  state.durable += 1;
  state.facts = page.facts;
  state.extension = page.extension;
  return toDurablePage(checkpoint);
}

async function acknowledge(
  inside: Inside,
  page: DurablePage,
  signal: AbortSignal,
): Promise<Receipt> {
  const { folder, key, room, journal, state } = inside;
  assert(page.page === state.acknowledged, "pages are acknowledged in order");
  const { checkpoint, fileBytes } = (await readNamed(inside, page.name)) ?? torn(page.name);
  const line = encodeLine(key, checkpoint);
  await room.whenDiskHasRoom(() => journal.append(line), signal);
  state.acknowledged += 1;
  await onDisk(() => unlink(join(folder, "pages", page.name)));
  room.give(diskBytes(fileBytes));
  return page;
}

/** Writes page files, and counts the syncs they cost. */
function createPageWriter(folder: string) {
  const writer = {
    flushes: 0,
    flushMillis: 0,
    async write(name: string, parts: readonly Uint8Array[]): Promise<void> {
      const started = performance.now();
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

async function readSealed(path: string, page: DurablePage): Promise<Uint8Array> {
  const file = (await openPlain(path)) ?? torn(page.name);
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

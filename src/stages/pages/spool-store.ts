/**
 * The run's durable folder: pages with their checkpoints, and the journal of acknowledgements.
 *
 * A page is taken when its bytes lie in the spool's buffer, DURABLE when its file and the file's name are synced, ACKED
 * when `acknowledge` returns; only then are its bytes removed. There is no second ledger: a page's progress lies in the
 * page's own file until its journal line is durable.
 */
import { createSecretKey, type KeyObject } from "node:crypto";
import { constants } from "node:fs";
import { join } from "node:path";
import { syncFolder } from "../durable-file.ts";
import type { DurablePage, FinalFacts, Page, Receipt, ResumePoint, SealedPage } from "../nouns.ts";
import { realWorld, type Disk, type World } from "../world.ts";
import { pageName, replayDigest, toDurablePage, type Checkpoint } from "./checkpoint.ts";
import { advance } from "./page-states.ts";
import { assert, PipelineError } from "../../errors.ts";
import type { PointSealer } from "./resume-points.ts";
import { createAcks, type Acks } from "./spool-acks.ts";
import { createFlusher, flushPolicy, type FlushPolicy } from "./spool-flush.ts";
import { store, type Intake, type State, type Stored } from "./spool-intake.ts";
import { createJournal, replayDigests, type Journal } from "./spool-journal.ts";
import { createSpoolPages } from "./spool-pages.ts";
import { readJournal } from "./spool-journal-lines.ts";
import { recoverPages, type Recovered } from "./spool-recovery.ts";
import { readNote, writeNote } from "./run-note.ts";
import { createRoom, onDisk } from "./spool-room.ts";
import { createUnderWay } from "./under-way.ts";

export interface Spool {
  readonly maxBytes: number;
  /** Bytes of pages that lie in the spool now. */
  readonly usedBytes: number;
  readonly peakBytes: number;
  /** Groups of pages made durable so far, their bytes, and the time of writing and syncing them. */
  readonly flushes: number;
  readonly flushedBytes: number;
  readonly flushMillis: number;
  /** Pages the destination has. */
  readonly acknowledged: number;
  /** Pages that would survive a power cut, whether acknowledged or not. */
  readonly durable: number;
  /** What the last page knows, once it is durable; then the source is needed no more. */
  readonly facts: FinalFacts | undefined;
  /** Behind which page the run can go on in another snapshot, of those that an earlier attempt made durable. */
  readonly point: ResumePoint | undefined;
  /** Fires with why a page could not be stored: nobody may be asking for one, behind uploads that hang. */
  readonly failure: AbortSignal;
  /** Whether a page made again equals the durable one of the same number, or is new. Asked in page order, from the first one or
   * the one behind `point` on. */
  replay(page: Page): Promise<"equal" | "different" | "new">;
  /** Pages that were durable but not acknowledged when the run was taken up. */
  backlog(): AsyncIterable<DurablePage>;
  /** A page that is durable and not acknowledged, read from its own file: whoever waits for it keeps its number only. */
  page(number: number): Promise<DurablePage>;
  /** Takes the next page and makes it durable together with others. Waits for room, up to a deadline. */
  store(page: SealedPage, signal: AbortSignal): Stored;
  /** Makes durable what was taken, without waiting for more. Never fails: each page's `durable` does. */
  flush(): Promise<void>;
  /**
   * Reads a durable page back, into `memory` where that is given and large enough, and re-hashes it; changed bytes are
   * never returned. What the disk gives back is what will be there after a crash: memory is no witness of it.
   */
  read(page: DurablePage, memory?: Uint8Array): Promise<Uint8Array>;
  /** Records durably that the destination has the page, then frees its bytes. Called in page order. */
  acknowledge(page: DurablePage, signal: AbortSignal): Promise<Receipt>;
  /** One short text that the source left for the run's next attempt. */
  readNote(): Promise<string | undefined>;
  writeNote(text: string): Promise<void>;
  /** What the source of the last committed run left for this one, where runs carry something on. */
  readonly carried: Carried | undefined;
  /** Every acknowledged page in order, streamed from the journal. */
  checkpoints(): AsyncIterable<Checkpoint>;
  /** Waits a few seconds for what is under way, then nothing more is stored. A second call does nothing. */
  close(): Promise<void>;
}

/** A note that outlived its run, and whose it was. */
export interface Carried {
  readonly runId: string;
  readonly text: string;
}

export interface SpoolOptions {
  /** The run's folder; `pages/` and `incoming/` are made in it. */
  readonly folder: string;
  readonly maxBytes: number;
  /** How long to wait for room before the run stops, resumable. */
  readonly fullTimeoutMillis: number;
  /** The run's own key for checkpoints. */
  readonly key: Uint8Array;
  /** Pages gather here before they are flushed. */
  readonly bufferBytes: number;
  /** Where the source can go on behind a row. */
  readonly points?: PointSealer | undefined;
  readonly carried?: Carried | undefined;
  readonly policy?: FlushPolicy;
  /** The disk and the clock; the real ones where none are given. */
  readonly world?: World;
}

/** Opens the folder, repairs what a crash left, and knows what is durable and acknowledged. */
export async function openSpool(options: SpoolOptions): Promise<Spool> {
  const { folder, world = realWorld } = options;
  const key = createSecretKey(options.key);
  const recovered = await onDisk(() => recoverPages(folder, key, world.disk));
  const journal = await onDisk(() => openJournal(folder, world.disk));
  const opening = { ...options, key, world };
  return createSpool(opening, recovered, assemble(opening, recovered, journal));
}

const journalOf = (folder: string) => join(folder, "acks.ndjson");

const { O_APPEND, O_CREAT, O_NOFOLLOW, O_WRONLY } = constants;
const appending = O_WRONLY | O_CREAT | O_APPEND | O_NOFOLLOW;

async function openJournal(folder: string, disk: Disk): Promise<Journal> {
  const file = await disk.open(journalOf(folder), appending, 0o600);
  try {
    // The journal is believed where a page is gone, so its name must be as durable as its lines.
    await syncFolder(folder, disk);
    return createJournal(file, (await file.stat()).size);
  } catch (error) {
    await file.close();
    throw error;
  }
}

type Opening = Omit<SpoolOptions, "key"> & { readonly key: KeyObject; readonly world: World };

/** The parts of a spool, which know of each other only what they are told here. */
function assemble(options: Opening, recovered: Recovered, journal: Journal): Inside {
  const { folder, key, points, world, policy = flushPolicy } = options;
  const { disk, clock } = world;
  const room = createRoom(options, recovered.usedBytes, clock);
  const underWay = createUnderWay(clock);
  const { check } = underWay;
  const pages = createSpoolPages(disk, folder, key);
  const extension = recovered.extension ?? "";
  const state: State = { ...recovered, extension };
  const flusher = createFlusher({ ...options, policy, room, check });
  const acks = createAcks({
    folder,
    world,
    key,
    journal,
    room,
    check,
    marks: () => state.marks,
    onAcknowledged(page) {
      state.marks = advance(state.marks, page, "acked");
      pages.forget(page);
    },
  });
  const point = recovered.point === undefined ? undefined : points?.open(recovered.point);
  const firstReplayed = point ? point.page + 1 : 0;
  const digests = replayDigests(
    { first: firstReplayed, end: recovered.marks.durable },
    {
      disk,
      journalPath: journalOf(folder),
      key,
      journal,
      acknowledged: () => state.marks.acked,
      readPage: async (n) => (await pages.look(pageName(n, state.extension)))?.checkpoint,
    },
  );
  const failed = new AbortController();
  // An abort is not the spool's failure.
  const fail = (error: unknown) => error instanceof PipelineError && failed.abort(error);
  const storing = { key, points, room, underWay, pages, state, flusher, fail };
  return { ...storing, point, acks, digests, journal, failure: failed.signal };
}

function createSpool(options: Opening, recovered: Recovered, inside: Inside): Spool {
  const { key, point, room, underWay, pages, state, flusher, acks, digests } = inside;
  const { acked, durable } = recovered.marks;
  const page = async (n: number) =>
    toDurablePage((await pages.find(n, pageName(n, state.extension))).checkpoint);
  let closing: Promise<void> | undefined;

  return {
    maxBytes: options.maxBytes,
    get usedBytes() {
      return room.usedBytes;
    },
    get peakBytes() {
      return room.peakBytes;
    },
    get flushes() {
      return flusher.counts.flushes;
    },
    get flushedBytes() {
      return flusher.counts.flushedBytes;
    },
    get flushMillis() {
      return flusher.counts.flushMillis;
    },
    get acknowledged() {
      return state.marks.acked;
    },
    get durable() {
      return state.marks.durable;
    },
    get facts() {
      return state.facts;
    },
    point,
    failure: inside.failure,
    async replay(page) {
      if (page.page >= durable) return "new";
      const { value } = await digests.next();
      assert(value === undefined || value.page === page.page, "pages are replayed in order");
      return value?.replay === replayDigest(key, page) ? "equal" : "different";
    },
    async *backlog() {
      for (let n = acked; n < durable; n += 1) yield await page(n);
    },
    page,
    store: (page, signal) => store(inside, page, signal),
    flush: flusher.flush,
    read: pages.read,
    acknowledge: (page, signal) =>
      underWay.add(async () => {
        await acks.add(page.page, pages.find(page.page, page.name), signal);
        return page;
      }),
    carried: options.carried,
    readNote: () => readNote(options.folder, options.world.disk),
    writeNote: (text) => writeNote(options.folder, text, options.world.disk),
    async *checkpoints() {
      const journal = { disk: options.world.disk, path: journalOf(options.folder), key };
      for await (const { checkpoints } of readJournal(journal)) yield* checkpoints;
    },
    close: () => (closing ??= close(inside)),
  };
}

async function close({ underWay, flusher, acks, digests, journal }: Inside): Promise<void> {
  await underWay.end(() => Promise.all([flusher.flush(), acks.flush()]));
  await digests.return();
  await onDisk(() => journal.close());
}

interface Inside extends Intake {
  readonly failure: AbortSignal;
  readonly point: ResumePoint | undefined;
  readonly acks: Acks;
  readonly digests: ReturnType<typeof replayDigests>;
  readonly journal: Journal;
}

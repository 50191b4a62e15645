/** How a page enters the spool: room under the cap, its checkpoint behind its bytes, a copy in the buffer, then the disk. */
import { assert } from "../../errors.ts";
import type { DurablePage, FinalFacts, SealedPage } from "../nouns.ts";
import { encodeTrailer, makeCheckpoint, toDurablePage, type HmacKey } from "./checkpoint.ts";
import { advance, type Marks } from "./page-states.ts";
import type { PointSealer } from "./resume-points.ts";
import type { Flusher, PageFile } from "./spool-flush.ts";
import type { SpoolPages } from "./spool-pages.ts";
import { diskBytes, type Room } from "./spool-room.ts";
import type { UnderWay } from "./under-way.ts";

/** The two moments of storing a page; a failure is told by both, and need be heard only once. */
export interface Stored {
  /** The spool has a copy: the page's memory is needed no more. */
  readonly taken: Promise<void>;
  /** The page would survive a power cut. */
  readonly durable: Promise<DurablePage>;
}

/** What is true of the spool now. */
export interface State {
  marks: Marks;
  /** What the names of pages end with. */
  extension: string;
  facts: FinalFacts | undefined;
}

export interface Intake {
  readonly key: HmacKey;
  /** Only where the source can go on behind a row. */
  readonly points: PointSealer | undefined;
  readonly room: Room;
  readonly flusher: Flusher;
  readonly pages: SpoolPages;
  readonly underWay: UnderWay;
  readonly state: State;
  /** Hears the first page that could not be stored. */
  fail(error: unknown): void;
}

export function store(intake: Intake, page: SealedPage, signal: AbortSignal): Stored {
  const durable = Promise.withResolvers<DurablePage>();
  const taken = intake.underWay.add(() => take(intake, page, signal, durable));
  taken.catch(durable.reject);
  durable.promise.catch(intake.fail);
  return { taken, durable: durable.promise };
}

async function take(
  { key, points, room, flusher, pages, state }: Intake,
  page: SealedPage,
  signal: AbortSignal,
  durable: PromiseWithResolvers<DurablePage>,
): Promise<void> {
  assert(page.page === state.marks.sealed, "pages are stored in order");
  const at = page.point && points ? { point: points.seal(page.point) } : {};
  let checkpoint = makeCheckpoint(key, page, { ...at, since: flusher.since(page.page) });
  let trailer = encodeTrailer(key, checkpoint);
  const parts = (since: number) => {
    if (since !== checkpoint.since) {
      checkpoint = makeCheckpoint(key, page, { ...at, since });
      trailer = encodeTrailer(key, checkpoint);
    }
    return [page.content, trailer];
  };
  const fileBytes = page.content.length + trailer.length;
  // Only pages that are durable can leave and make room.
  if (!room.fits(diskBytes(fileBytes))) void flusher.flush();
  await room.take(diskBytes(fileBytes), signal);
  state.marks = advance(state.marks, page.page, "sealed");
  state.extension = page.extension;
  const settle: PageFile["settle"] = (failure) => {
    if (failure) return durable.reject(failure.error);
    state.marks = advance(state.marks, page.page, "durable");
    state.facts = page.facts;
    pages.keep({ checkpoint, fileBytes });
    durable.resolve(toDurablePage(checkpoint));
  };
  const { name } = checkpoint;
  await flusher.take({ page: page.page, name, parts, settle }, page.final, signal);
}

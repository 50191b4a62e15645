/**
 * what    records fill pages in leased memory; whole records only, unless one is larger than a page
 * takes   records · gives pages
 * holds   nothing of its own: pages are on the lease, each weighed with what sealing makes of it
 * order   kept; boundaries depend on the records alone, so the same rows make the same pages
 * ends    the last page is marked final, knows the columns and the source's proof; no records make one empty page
 * fails   budget-too-small (one page does not fit the lease) · config-invalid (more pages or columns than the format has room for)
 */
import { hash } from "node:crypto";
import * as v from "valibot";
import { count, size } from "../atoms.ts";
import { assert } from "../../errors.ts";
import type { FinalFacts, Mark, Page, RecordBatch, ResumePoint, Span } from "../nouns.ts";
import { defineStage, type StageContext } from "../stage.ts";
import type { Leased } from "../lease.ts";
import { refuseBeyondFormat, refuseForeignRecords } from "./format-limits.ts";

/** A page needs at least this for the frame, the age header and a record worth the name. */
const leastPageBytes = 4096;
const mostPageBytes = 256 * 1024 * 1024;

/** What sealing may add to a page that does not compress: identity, age header and tags. */
const sealOverheadBytes = 64 * 1024;

/** The most that sealing makes of a page. */
export const sealedMost = (pageBytes: number): number => pageBytes + sealOverheadBytes;

/** Bytes a page costs the lease: its records, and the sealed form that lives beside them until the spool has it. */
export const pageWeight = (pageBytes: number): number => pageBytes + sealedMost(pageBytes);

export const chunk = defineStage({
  name: "chunk",
  summary: "Fills pages with whole records; a record larger than a page spans pages and is marked.",
  config: v.strictObject({
    size: v.pipe(
      v.optional(size, "1MiB"),
      v.minValue(leastPageBytes, "expected at least 4KiB"),
      v.maxValue(mostPageBytes, "expected at most 256MiB"),
      v.description("most bytes of records in a page, before compression"),
      v.metadata({ unit: "bytes" }),
    ),
    records: v.pipe(
      v.optional(count(1)),
      v.description("most records in a page; as many as fit when absent"),
    ),
  }),
  shorthand: "size",
  takes: "records",
  gives: "pages",
  holds: () => 0,
  async *open(config, ctx, input) {
    let pages: Filler | undefined;
    try {
      let last: RecordBatch | undefined;
      for await (const batch of input) {
        if (batch.columns !== last?.columns) refuseForeignRecords(batch);
        last = batch;
        pages ??= createFiller(config, ctx, batch.from);
        yield* pages.fill(batch);
      }
      assert(pages && last?.end, "records end with the source's proof");
      yield await pages.finish({ columns: last.columns, end: last.end }, last.extension);
    } finally {
      pages?.drop();
    }
  },
});

type Limits = v.InferOutput<typeof chunk.config>;

interface Filler {
  fill(batch: RecordBatch): AsyncGenerator<Page>;
  finish(facts: FinalFacts, extension: string): Promise<Page>;
  /** Gives back a page that will not be finished. */
  drop(): void;
}

function createFiller(limits: Limits, ctx: StageContext, from?: ResumePoint): Filler {
  const { size: pageBytes, records: mostRecords = Infinity } = limits;
  const page = createOpenPage(pageBytes, ctx, from);
  /** Pages already closed of the record that is larger than a page, while it lasts. */
  let fragments: number | undefined;

  /** A part of a record that is larger than a page: fills one page after another. */
  async function* spread(part: Uint8Array, extension: string, mark?: Mark): AsyncGenerator<Page> {
    const isBegun = page.filled > 0 || page.records > 0;
    if (fragments === undefined && isBegun) yield page.close(extension, mark);
    fragments ??= 0;
    for (let at = 0; at < part.length;) {
      if (page.filled === pageBytes) {
        page.span = fragments === 0 ? "first" : "middle";
        fragments += 1;
        yield page.close(extension, mark);
      }
      const piece = part.subarray(at, at + pageBytes - page.filled);
      await page.put(piece);
      at += piece.length;
    }
  }

  return {
    async *fill({ bytes, ends, framing, extension, marks }) {
      let start = 0;
      for (let next = 0; next < ends.length;) {
        const end = ends[next]!;
        if (fragments !== undefined || end - start > pageBytes) {
          yield* spread(bytes.subarray(start, end), extension, marks?.[next]);
          assert(fragments, "a record that spans pages is larger than one");
          page.span = "last";
          fragments = undefined;
          if (!framing) page.count(1, marks?.[next]);
          start = end;
          next += 1;
          continue;
        }
        // A page that holds a part of a record holds nothing else.
        const isTaken = page.span !== "whole" || (!framing && page.records === mostRecords);
        if (isTaken || page.filled + end - start > pageBytes) {
          yield page.close(extension, marks?.[next]);
        }
        const fits = lastThatFits(ends, next, start + pageBytes - page.filled);
        const after = framing ? fits : Math.min(fits, next + mostRecords - page.records);
        const stop = ends[after - 1]!;
        await page.put(bytes.subarray(start, stop));
        if (!framing) page.count(after - next, marks?.[after - 1]);
        start = stop;
        next = after;
      }
      if (start < bytes.length) yield* spread(bytes.subarray(start), extension);
    },
    async finish(facts, extension) {
      assert(fragments === undefined, "the last record has an end");
      await page.put(new Uint8Array(0));
      return page.close(extension, undefined, facts);
    },
    drop: page.drop,
  };
}

/** The page being filled, in leased memory from its first byte on. */
function createOpenPage(pageBytes: number, ctx: StageContext, from?: ResumePoint) {
  const identify = createIdentities(from);
  let open: Leased | undefined;
  /** Of the last whole record, where the source marks its rows. */
  let mark = from?.mark;
  return {
    filled: 0,
    records: 0,
    span: "whole" as Span,
    async put(piece: Uint8Array): Promise<void> {
      open ??= await ctx.lease.take(pageBytes, pageWeight(pageBytes), ctx.signal);
      put(piece, open.bytes, this.filled);
      this.filled += piece.length;
    },
    /** Says that so many records have come to their end. */
    count(ended: number, last: Mark | undefined): void {
      this.records += ended;
      mark = last;
    },
    /** @param next mark of the record behind the page: one row of the source may have become several */
    close(extension: string, next?: Mark, facts?: FinalFacts): Page {
      assert(open, "a page is open when it is closed");
      const { filled, records, span } = this;
      const isCounted = span === "whole" || records <= (span === "last" ? 1 : 0);
      assert(isCounted, "a page within a record holds nothing else");
      const isBetween = mark !== next && (span === "whole" || span === "last");
      const at = isBetween && mark && { mark };
      const page = identify(open, { filled, records, span, extension, ...at }, facts);
      [open, this.records, this.filled, this.span] = [undefined, 0, 0, "whole"];
      return page;
    },
    drop(): void {
      open?.release();
      open = undefined;
    },
  };
}

/** `set` moves single bytes into shared memory unless both sides are aligned alike, which takes five times as long. */
function put(piece: Uint8Array, page: Uint8Array, at: number): void {
  Buffer.from(piece.buffer, piece.byteOffset, piece.length).copy(page, at);
}

/** Index after the last record from `first` on that ends at or before `limit`; at least one fits. */
function lastThatFits(ends: ArrayLike<number>, first: number, limit: number): number {
  let low = first + 1;
  let high = ends.length;
  while (low < high) {
    const middle = (low + high + 1) >> 1;
    if (ends[middle - 1]! <= limit) low = middle;
    else high = middle - 1;
  }
  return low;
}

interface Filled {
  readonly filled: number;
  readonly records: number;
  readonly span: Span;
  readonly extension: string;
  /** Where the page ends between two rows of the source. */
  readonly mark?: Mark;
}

/** Numbers pages, sums records and carries the digest chain from page to page. */
function createIdentities(from?: ResumePoint) {
  let page = from ? from.page + 1 : 0;
  let total = from?.total ?? 0;
  let chain: Uint8Array = from ? Buffer.from(from.chain, "hex") : new Uint8Array(32);
  return (
    leased: Leased,
    { filled, records, span, extension, mark }: Filled,
    facts?: FinalFacts,
  ): Page => {
    refuseBeyondFormat(page);
    const content = leased.bytes.subarray(0, filled);
    const digest = hash("sha256", content, "buffer");
    chain = nextChain(chain, digest);
    total += records;
    const chainText = Buffer.from(chain).toString("hex");
    const made: Page = {
      page,
      records,
      total,
      span,
      bytes: filled,
      chain: chainText,
      final: facts !== undefined,
      content,
      digest,
      extension,
      ...(facts && { facts }),
      ...(mark && { point: { page, total, chain: chainText, mark } }),
      release: () => leased.release(),
    };
    page += 1;
    return made;
  };
}

/** SHA-256(chain before ‖ digest of the page's records). */
export function nextChain(chain: Uint8Array, digest: Uint8Array): Uint8Array {
  return hash("sha256", Buffer.concat([chain, digest]), "buffer");
}

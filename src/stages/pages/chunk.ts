/**
 * what    records fill pages in leased memory; whole records only, unless one is larger than a page
 * takes   records · gives pages
 * holds   nothing of its own: pages are on the lease, each weighed with what sealing makes of it
 * order   kept; boundaries depend on the records alone, so the same rows make the same pages
 * ends    the last page is marked final, knows the columns and the source's proof; no records make one empty page
 * fails   budget-too-small (one page does not fit the lease) · config-invalid (more pages than the format has numbers)
 */
import { createHash, hash } from "node:crypto";
import * as v from "valibot";
import { size } from "../atoms.ts";
import { PipelineError, assert } from "../../errors.ts";
import type { FinalFacts, Page, RecordBatch, Span } from "../nouns.ts";
import { defineStage, type StageContext } from "../stage.ts";
import type { Leased } from "../lease.ts";
import { maxPages } from "./checkpoint.ts";

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
  }),
  shorthand: "size",
  takes: "records",
  gives: "pages",
  holds: () => 0,
  async *open(config, ctx, input) {
    const pages = createFiller(config.size, ctx);
    try {
      let last: RecordBatch | undefined;
      for await (const batch of input) {
        last = batch;
        yield* pages.fill(batch);
      }
      assert(last?.end, "records end with the source's proof");
      yield await pages.finish({ columns: last.columns, end: last.end }, last.extension);
    } finally {
      pages.drop();
    }
  },
});

interface Filler {
  fill(batch: RecordBatch): AsyncGenerator<Page>;
  finish(facts: FinalFacts, extension: string): Promise<Page>;
  /** Gives back a page that will not be finished. */
  drop(): void;
}

function createFiller(pageBytes: number, ctx: StageContext): Filler {
  const identify = createIdentities();
  let open: Leased | undefined;
  let filled = 0;
  let records = 0;
  let span: Span = "whole";
  /** Pages already closed of the record that is larger than a page, while it lasts. */
  let fragments: number | undefined;

  const room = async (): Promise<Leased> =>
    (open ??= await ctx.lease.take(pageBytes, pageWeight(pageBytes), ctx.signal));

  const close = (extension: string, facts?: FinalFacts): Page => {
    assert(open, "a page is open when it is closed");
    const page = identify(open, { filled, records, span, extension }, facts);
    [open, filled, records, span] = [undefined, 0, 0, "whole"];
    return page;
  };

  /** A part of a record that is larger than a page: fills one page after another. */
  async function* spread(part: Uint8Array, extension: string): AsyncGenerator<Page> {
    if (fragments === undefined && filled > 0) yield close(extension);
    fragments ??= 0;
    for (let at = 0; at < part.length;) {
      if (filled === pageBytes) {
        span = fragments === 0 ? "first" : "middle";
        fragments += 1;
        yield close(extension);
      }
      const piece = part.subarray(at, at + pageBytes - filled);
      put(piece, (await room()).bytes, filled);
      filled += piece.length;
      at += piece.length;
    }
  }

  return {
    async *fill({ bytes, ends, framing, extension }) {
      let start = 0;
      for (let next = 0; next < ends.length;) {
        const end = ends[next]!;
        if (fragments !== undefined || end - start > pageBytes) {
          yield* spread(bytes.subarray(start, end), extension);
          assert(fragments, "a record that spans pages is larger than one");
          span = "last";
          fragments = undefined;
          records = framing ? 0 : 1;
          start = end;
          next += 1;
          continue;
        }
        // A page that holds a part of a record holds nothing else.
        if (filled > 0 && (span !== "whole" || filled + end - start > pageBytes)) {
          yield close(extension);
        }
        const page = await room();
        const after = lastThatFits(ends, next, start + pageBytes - filled);
        const stop = ends[after - 1]!;
        put(bytes.subarray(start, stop), page.bytes, filled);
        filled += stop - start;
        if (!framing) records += after - next;
        start = stop;
        next = after;
      }
      if (start < bytes.length) yield* spread(bytes.subarray(start), extension);
    },
    async finish(facts, extension) {
      assert(fragments === undefined, "the last record has an end");
      await room();
      return close(extension, facts);
    },
    drop() {
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
}

/** Numbers pages, sums records and carries the digest chain from page to page. */
function createIdentities() {
  let page = 0;
  let total = 0;
  let chain: Uint8Array = new Uint8Array(32);
  return (
    leased: Leased,
    { filled, records, span, extension }: Filled,
    facts?: FinalFacts,
  ): Page => {
    refuseBeyondFormat(page);
    const content = leased.bytes.subarray(0, filled);
    const digest = hash("sha256", content, "buffer");
    chain = nextChain(chain, digest);
    total += records;
    const made: Page = {
      page,
      records,
      total,
      span,
      bytes: filled,
      chain: Buffer.from(chain).toString("hex"),
      final: facts !== undefined,
      content,
      digest,
      extension,
      ...(facts && { facts }),
      release: () => leased.release(),
    };
    page += 1;
    return made;
  };
}

/** @throws PipelineError `config-invalid` for a page whose number the format has no name for */
export function refuseBeyondFormat(page: number): void {
  if (page < maxPages) return;
  throw new PipelineError(
    "config-invalid",
    `chunk: the export needs more than the ${maxPages} pages that its format has numbers for; raise \`chunk.size\` and begin again with \`spillway run --restart\``,
  );
}

/** SHA-256(chain before ‖ digest of the page's records). */
export function nextChain(chain: Uint8Array, digest: Uint8Array): Uint8Array {
  return createHash("sha256").update(chain).update(digest).digest();
}

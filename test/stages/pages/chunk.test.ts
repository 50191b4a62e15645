import assert from "node:assert/strict";
import { hash } from "node:crypto";
import * as fc from "fast-check";
import { createLease } from "../../../src/stages/lease.ts";
import type { Mark, Page, RecordBatch } from "../../../src/stages/nouns.ts";
import { chunk, nextChain, pageWeight } from "../../../src/stages/pages/chunk.ts";
import { checkStageContract, testContext } from "../../contract/stage-contract.ts";
import { recordBatch, recordBatches, sourceEnd, stream } from "../../fixtures/pipelines.ts";

const pageBytes = 4096;

/** Records of these lengths, each byte telling which record it is of. */
const recordsOf = (lengths: readonly number[]) =>
  lengths.map((length, i) => new Uint8Array(length).fill(i % 251));

interface Seen extends Omit<Page, "release" | "content"> {
  readonly content: Buffer;
}

/** Pages as they were, each released at once. */
async function pagesOf(batches: Iterable<RecordBatch>, records?: number): Promise<Seen[]> {
  const context = testContext({ lease: createLease(2 * pageWeight(pageBytes)) });
  const pages: Seen[] = [];
  const limits = { size: pageBytes, records };
  for await (const page of chunk.open(limits, context, stream(batches))) {
    const { release: _release, content, ...rest } = page;
    pages.push({ ...rest, content: Buffer.from(content) });
    page.release();
  }
  assert.equal(context.lease.inUseBytes, 0);
  return pages;
}

const reading = { columns: "c", epochs: [] };
const markOf = (row: number): Mark => ({ row, key: [`key ${row}`], reading });

const pick = (pages: readonly Seen[], ...keys: readonly (keyof Seen)[]) =>
  pages.map((page) => keys.map((key) => page[key]));

describe("chunk", () => {
  const small = recordsOf(Array.from({ length: 200 }, (_, i) => 90 + (i % 20)));

  checkStageContract({
    stage: chunk,
    config: () => ({ size: pageBytes }),
    wrong: { size: "1KiB", records: 0 },
    makeInput: (pieces) => recordBatches(small, pieces),
    contentOf: (pages) => pages.map(({ page, chain, records }) => ({ page, chain, records })),
    empty: {
      input: () => recordBatches([]),
      check: (pages) => {
        assert.equal(pages.length, 1);
        const { page, records, total, span, bytes, final, content } = pages[0]!;
        assert.deepEqual(
          { page, records, total, span, bytes, final, length: content.length },
          { page: 0, records: 0, total: 0, span: "whole", bytes: 0, final: true, length: 0 },
        );
        assert.deepEqual(pages[0]!.facts, { columns: [], end: sourceEnd(0) });
      },
    },
  });

  it("refuses columns that no manifest could name before it makes a page", async () => {
    const columns = Array.from({ length: 80_000 }, (_, i) => ({
      name: `column ${i}`,
      type: "text",
      json: "string" as const,
    }));
    const batches = recordBatches(small).map((batch) => ({ ...batch, columns }));
    await assert.rejects(pagesOf(batches), { code: "config-invalid", message: /80000 columns/ });
  });

  it("makes pages of 1 MiB unless told otherwise, of 4 KiB at least and 256 MiB at most", () => {
    const sizeOf = (input: unknown) => chunk.config["~run"]({ value: input }, {}).value;
    assert.deepEqual(sizeOf({}), { size: 2 ** 20 });
    for (const size of ["4095B", "257MiB"]) assert.notDeepEqual(sizeOf({ size }), { size });
    assert.deepEqual(sizeOf({ records: 1 }), { size: 2 ** 20, records: 1 });
  });

  it("fills pages with whole records and counts them", async () => {
    const pages = await pagesOf(recordBatches(recordsOf([2000, 2000, 2000, 96, 4096, 1])));
    assert.deepEqual(pick(pages, "bytes", "records", "total", "span", "final"), [
      [4000, 2, 2, "whole", false],
      [2096, 2, 4, "whole", false],
      [4096, 1, 5, "whole", false],
      [1, 1, 6, "whole", true],
    ]);
  });

  it("fills a page to its last byte, however the records come", async () => {
    const records = recordsOf(Array.from({ length: 8 }, () => 1024));
    for (const pieces of [1, 2, 3, 8]) {
      const pages = await pagesOf(recordBatches(records, pieces));
      assert.deepEqual(pick(pages, "bytes", "records"), [
        [4096, 4],
        [4096, 4],
      ]);
    }
  });

  it("fills a page with so many records at most, however they come", async () => {
    const records = recordsOf([10, 10, 10, 4090, 10, 10_000, 10, 10, 10]);
    for (const pieces of [1, 2, 3, 9]) {
      const pages = await pagesOf(recordBatches(records, pieces, "]"), 2);
      assert.deepEqual(pick(pages, "bytes", "records", "total", "span"), [
        [20, 2, 2, "whole"],
        [10, 1, 3, "whole"],
        [4090, 1, 4, "whole"],
        [10, 1, 5, "whole"],
        [4096, 0, 5, "first"],
        [4096, 0, 5, "middle"],
        [1808, 1, 6, "last"],
        [20, 2, 8, "whole"],
        [11, 1, 9, "whole"],
      ]);
    }
    const exact = await pagesOf(recordBatches(recordsOf([9, 9, 9, 9]), 1, "]"), 2);
    assert.deepEqual(pick(exact, "bytes", "records", "final"), [
      [18, 2, false],
      [19, 2, true],
    ]);
    const even = recordsOf(Array.from({ length: 9 }, () => 9));
    const begun = await pagesOf(recordBatches(even, 3), 2);
    assert.deepEqual(pick(begun, "records"), [[2], [2], [2], [2], [1]]);
  });

  it("counts records without a byte as others", async () => {
    const records = recordsOf([0, 0, 0, 5]);
    const pages = await pagesOf(recordBatches(records, 1, "]"), 2);
    assert.deepEqual(pick(pages, "bytes", "records", "total"), [
      [0, 2, 2],
      [6, 2, 4],
    ]);
  });

  it("closes a page of records without a byte before a record larger than a page", async () => {
    const pages = await pagesOf(
      recordBatches(recordsOf([5000, 0, 0, 5000, 0]), 1, "]".repeat(5000)),
    );
    assert.deepEqual(pick(pages, "bytes", "records", "span"), [
      [4096, 0, "first"],
      [904, 1, "last"],
      [0, 2, "whole"],
      [4096, 0, "first"],
      [904, 1, "last"],
      [0, 1, "whole"],
      [4096, 0, "first"],
      [904, 0, "last"],
    ]);
  });

  it("spreads a record larger than a page over pages that hold nothing else, and marks them", async () => {
    const pages = await pagesOf(recordBatches(recordsOf([10, 3 * 4096 + 5, 20, 4097])));
    assert.deepEqual(pick(pages, "bytes", "records", "total", "span", "final"), [
      [10, 1, 1, "whole", false],
      [4096, 0, 1, "first", false],
      [4096, 0, 1, "middle", false],
      [4096, 0, 1, "middle", false],
      [5, 1, 2, "last", false],
      [20, 1, 3, "whole", false],
      [4096, 0, 3, "first", false],
      [1, 1, 4, "last", true],
    ]);
  });

  it("makes the same pages of a large record that comes in parts", async () => {
    const records = recordsOf([10, 3 * 4096 + 5, 20]);
    const batches = recordBatches(records);
    const [{ bytes, ends, ...rest }, end] = batches as [RecordBatch, RecordBatch];
    const cutAt = [5000, 9001];
    const parts = [0, ...cutAt].map((from, i) => {
      const to = cutAt[i] ?? bytes.length;
      const within = Array.from(ends).filter((at) => at > from && at <= to);
      return { ...rest, bytes: bytes.subarray(from, to), ends: within.map((at) => at - from) };
    });
    assert.deepEqual(
      parts.map((part) => part.ends.length),
      [1, 0, 2],
    );
    assert.deepEqual(await pagesOf([...parts, end]), await pagesOf(batches));
  });

  it("can go on behind a page that ends between two rows, not inside of a record or of a row", async () => {
    const [a, b, c, d] = [1, 2, 3, 4].map(markOf) as [Mark, Mark, Mark, Mark];
    // The third row became three records, and pages end between them.
    const [batch, end] = recordBatches(recordsOf([10, 10_000, 4000, 4000, 5000, 20]));
    const pages = await pagesOf([{ ...batch!, marks: [a, b, c, c, c, d] }, end!]);
    assert.deepEqual(
      pages.map(({ span, point }) => [span, point?.mark]),
      [
        ["whole", a],
        ["first", undefined],
        ["middle", undefined],
        ["last", b],
        ["whole", undefined],
        ["whole", undefined],
        ["first", undefined],
        ["last", c],
        ["whole", d],
      ],
    );
    for (const { page, total, chain, point } of pages)
      if (point) assert.deepEqual(point, { page, total, chain, mark: point.mark });
  });

  it("goes on behind a resume point as if it had made the pages before it", async () => {
    const records = recordsOf([3000, 3000, 3000, 3000]);
    const marks = records.map((_, i) => markOf(i));
    const [batch, end] = recordBatches(records);
    const all = await pagesOf([{ ...batch!, marks }, end!]);
    const from = all[1]!.point!;
    assert.equal(from.page, 1);
    const [rest] = recordBatches(records.slice(2));
    const opening = { ...recordBatch([], true), from };
    const again = await pagesOf([opening, { ...rest!, marks: marks.slice(2) }, end!]);
    assert.deepEqual(again, all.slice(2));
  });

  it("needs no middle for a record of exactly two pages", async () => {
    const pages = await pagesOf(recordBatches(recordsOf([2 * 4096])));
    assert.deepEqual(pick(pages, "span", "final"), [
      ["first", false],
      ["last", true],
    ]);
  });

  it("counts framing as no record, wherever it lies", async () => {
    const pages = await pagesOf(recordBatches(recordsOf([4000]), 1, "]".repeat(200)));
    assert.deepEqual(pick(pages, "bytes", "records", "total", "final"), [
      [4000, 1, 1, false],
      [200, 0, 1, true],
    ]);
    const long = await pagesOf(recordBatches([], 1, "]".repeat(5000)));
    assert.deepEqual(pick(long, "records", "total", "span"), [
      [0, 0, "first"],
      [0, 0, "last"],
    ]);
  });

  it("gives the columns and the proof to the last page alone, behind it nothing", async () => {
    const pages = await pagesOf(recordBatches(small, 7));
    const facts = { columns: [], end: sourceEnd(small.length) };
    assert.deepEqual(
      pages.map((page) => page.facts),
      [...pages.slice(1).map(() => undefined), facts],
    );
  });

  it("chains digests from 32 zero bytes on", async () => {
    let chain: Uint8Array = new Uint8Array(32);
    for (const page of await pagesOf(recordBatches(small))) {
      assert.deepEqual(Buffer.from(page.digest), hash("sha256", page.content, "buffer"));
      chain = nextChain(chain, page.digest);
      assert.equal(page.chain, Buffer.from(chain).toString("hex"));
    }
  });

  it("cuts pages by the records alone, loses nothing and exceeds no page", async () => {
    const length = fc.oneof(
      { weight: 8, arbitrary: fc.integer({ min: 1, max: 600 }) },
      { weight: 2, arbitrary: fc.integer({ min: 4000, max: 4200 }) },
      { weight: 1, arbitrary: fc.integer({ min: 4097, max: 20_000 }) },
      { weight: 1, arbitrary: fc.constant(0) },
    );
    const lengths = fc.array(length, { maxLength: 60 });
    await fc.assert(
      fc.asyncProperty(
        lengths,
        fc.integer({ min: 1, max: 60 }),
        fc.string(),
        fc.option(fc.integer({ min: 1, max: 9 }), { nil: undefined }),
        async (all, pieces, footer, most) => {
          const records = recordsOf(all);
          const pages = await pagesOf(recordBatches(records, pieces, footer), most);
          const whole = await pagesOf(recordBatches(records, 1, footer), most);
          assert(pages.every((page) => page.records <= (most ?? page.records)));
          assert.deepEqual(pages, whole, "another batching makes the same pages");
          const bytes = Buffer.concat([...records, Buffer.from(footer)]);
          assert.ok(Buffer.concat(pages.map(({ content }) => content)).equals(bytes));
          assert.ok(
            pages.every((page) => page.bytes <= pageBytes && page.bytes === page.content.length),
          );
          assert.deepEqual(
            pages.map(({ page }) => page),
            [...pages.keys()],
          );
          assert.equal(pages.filter(({ final }) => final).length, 1);
          assert.equal(pages.at(-1)!.final, true);
          assert.equal(pages.at(-1)!.total, records.length);
          checkRecords(pages, all);
        },
      ),
    );
  });

  it("asserts that records end with a proof", async () => {
    const [batch] = recordBatches(small);
    await assert.rejects(pagesOf([batch!]), { code: "internal", message: /proof/ });
  });

  it("refuses a lease that one page does not fit", async () => {
    const context = testContext({ lease: createLease(pageWeight(pageBytes) - 1) });
    const pages = chunk.open({ size: pageBytes }, context, stream(recordBatches(small)));
    await assert.rejects(
      async () => {
        for await (const page of pages) page.release();
      },
      { code: "budget-too-small" },
    );
  });
});

/** Every page that is whole ends where a record ends; every record ends in the page that counts it. */
function checkRecords(pages: readonly Seen[], lengths: readonly number[]): void {
  let record = 0;
  let left = 0;
  for (const { span, records, content } of pages) {
    if (span === "first") left = lengths[record] ?? Number.NaN;
    if (span === "whole" && records > 0) {
      const sum = lengths.slice(record, record + records).reduce((a, b) => a + b, 0);
      assert.ok(content.length >= sum);
    } else left -= content.length;
    if (span === "last" && records > 0) assert.equal(left, 0);
    record += records;
  }
}

import assert from "node:assert/strict";
import * as v from "valibot";
import type { Page } from "../../../src/stages/nouns.ts";
import { compress, compressWork } from "../../../src/stages/pages/compress.ts";
import { decodeFrame } from "../../../src/workers/frame.ts";
import { createPool, type Pool } from "../../../src/workers/pool.ts";
import { checkStageContract, testContext } from "../../contract/stage-contract.ts";
import { contentOf, leasedPages } from "../../fixtures/pages.ts";

const identities = (pages: readonly Page[]) =>
  pages.map(({ page, chain, final, extension }) => ({ page, chain, final, extension }));

describe("compress", () => {
  let pool: Pool;
  before(() => {
    pool = createPool(2);
  });
  after(() => pool.close());

  checkStageContract({
    stage: compress,
    config: () => ({ codec: "zstd" }),
    required: ["codec"],
    wrong: { codec: "brotli", level: 20 },
    makeInput: (_pieces, ctx) => leasedPages(7, ctx),
    context: () => ({ pool }),
    contentOf: identities,
  });

  for (const codec of ["zstd", "gzip", "none"] as const) {
    it(`frames pages with ${codec}, identity inside, records unchanged`, async () => {
      const context = testContext({ pool });
      const config = v.parse(compress.config, { codec });
      for await (const page of compress.open(config, context, leasedPages(3, context))) {
        const { identity, content } = decodeFrame(page.content, codec, page.bytes);
        assert.equal(Buffer.from(content).toString(), contentOf(page.page));
        assert.equal(
          page.extension,
          { zstd: "ndjson.zst", gzip: "ndjson.gz", none: "ndjson" }[codec],
        );
        if (codec !== "none")
          assert.deepEqual([identity?.run, identity?.page], [context.run.id, page.page]);
        assert.equal(page.facts !== undefined, page.final, "facts travel with the last page");
        page.release();
      }
      assert.equal(context.lease.inUseBytes, 0);
    });
  }

  it("gives a frame's own memory back together with the page", async () => {
    const context = testContext({ pool });
    for await (const page of compress.open({ codec: "zstd" }, context, leasedPages(1, context))) {
      page.release();
      assert.equal(page.content.byteLength, 0);
    }
  });

  it("takes level 1 where none is given, and no more than gzip has", () => {
    assert.deepEqual(compressWork({ codec: "zstd" }), { codec: "zstd", level: 1 });
    assert.deepEqual(compressWork({ codec: "zstd", level: 19 }), { codec: "zstd", level: 19 });
    assert.deepEqual(compressWork({ codec: "gzip", level: 19 }), { codec: "gzip", level: 9 });
  });

  it("holds in every thread what its level needs, and no more than pages can use", () => {
    const MiB = 2 ** 20;
    const held = (level: number, pageBytes: number, codec: "zstd" | "gzip" | "none" = "zstd") =>
      compress.holds({ codec, level }, pageBytes, 1);
    // The growth of the peak, measured with `zstdCompressSync`.
    const measured = [
      [3, 1, 1.0],
      [6, 1, 2.8],
      [9, 1, 10.2],
      [12, 1, 10.3],
      [15, 1, 16.2],
      [19, 1, 16.8],
      [9, 4, 11],
      [12, 4, 41.5],
      [15, 8, 66.8],
      [19, 8, 83],
      [19, 0.25, 4.8],
    ] as const;
    for (const [level, pageMiB, peakMiB] of measured) {
      const bytes = held(level, pageMiB * MiB);
      assert.ok(bytes >= peakMiB * MiB, `level ${level}, ${pageMiB} MiB: ${bytes}`);
      assert.ok(bytes <= 3.1 * peakMiB * MiB, `level ${level}, ${pageMiB} MiB: ${bytes}`);
    }
    assert.deepEqual([held(1, MiB), held(9, MiB, "none")], [0, 0]);
    assert.ok(held(9, MiB, "gzip") > 0);
    const config = { codec: "zstd", level: 19 } as const;
    assert.equal(compress.holds(config, MiB, 4), 4 * held(19, MiB));
  });
});

import assert from "node:assert/strict";
import { mkdir, readdir, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import type { SealedPage } from "../../../src/stages/nouns.ts";
import { realClock, realWorld, type Clock } from "../../../src/stages/world.ts";
import type { FlushPolicy } from "../../../src/stages/pages/spool-flush.ts";
import { makeSealed, never, openTestSpool } from "../../fixtures/pages.ts";
import { mountSmallDisk } from "../../fixtures/small-disk.ts";
import { useFolder } from "../../fixtures/pipelines.ts";

/** Room for ten pages with their trailers, each a little smaller than this: the ninth begins a flush. */
const bufferBytes = 10 * 900;
const untilFlush = 9;
const background: FlushPolicy = { threshold: 0.8, writer: "background" };
const inline: FlushPolicy = { threshold: 0.8, writer: "inline" };

describe("spool-flush", () => {
  const folder = useFolder();
  let pages: SealedPage[];
  before(async () => {
    pages = await makeSealed(20);
  });
  const open = (policy: FlushPolicy, more = {}) =>
    openTestSpool(folder.next(), { bufferBytes, policy, ...more });

  for (const policy of [background, inline]) {
    describe(`written ${policy.writer}`, () => {
      it("makes pages durable together, in order, once the buffer has filled to its threshold", async () => {
        const spool = await open(policy);
        const stored = [];
        for (const page of pages.slice(0, untilFlush)) {
          assert.equal(spool.durable, 0);
          stored.push(spool.store(page, never));
          await stored.at(-1)!.taken;
        }
        const order: number[] = [];
        await Promise.all(
          stored.map(({ durable }) => durable.then(({ page }) => order.push(page))),
        );
        assert.deepEqual(
          order,
          Array.from({ length: untilFlush }, (_, page) => page),
        );
        assert.deepEqual([spool.flushes, spool.durable], [1, untilFlush]);
        assert.ok(spool.flushedBytes >= 0.8 * bufferBytes && spool.flushMillis > 0);
        await spool.close();
      });

      it("keeps no page waiting when nothing follows it", async () => {
        const spool = await open(policy);
        await spool.store(pages[0]!, never).durable;
        assert.deepEqual([spool.flushes, spool.durable], [1, 1]);
        await spool.close();
      });

      it("does not wait for others behind the final page", async () => {
        const [only] = await makeSealed(1);
        const spool = await open(policy);
        const { taken } = spool.store(only!, never);
        await taken;
        await spool.flush();
        assert.equal(spool.durable, 1);
        await spool.close();
      });

      it("stores many more pages than the buffer holds, each whole", async () => {
        const spool = await open(policy);
        for (const page of pages) await spool.store(page, never).taken;
        await spool.flush();
        assert.equal(spool.durable, 20);
        assert.ok(spool.flushes <= 10, `${spool.flushes} flushes of 20 pages`);
        for (const page of pages) {
          const bytes = await spool.read(await spool.page(page.page));
          assert.deepEqual(Buffer.from(bytes), Buffer.from(page.content));
        }
        await spool.close();
      });

      it("flushes what is gathered when it is closed", async () => {
        const path = folder.next();
        const spool = await openTestSpool(path, { bufferBytes, policy });
        await spool.store(pages[0]!, never).taken;
        await spool.store(pages[1]!, never).taken;
        await spool.close();
        const again = await openTestSpool(path);
        assert.equal(again.durable, 2);
        await again.close();
      });
    });
  }

  it("goes on taking pages while it flushes in the background, and not when inline", async () => {
    for (const policy of [background, inline]) {
      const spool = await open(policy);
      for (const page of pages.slice(0, untilFlush)) await spool.store(page, never).taken;
      assert.equal(spool.durable, policy === inline ? untilFlush : 0);
      await spool.close();
    }
  });

  it("flushes at once when the spool's cap is reached, for only durable pages can leave", async () => {
    const spool = await open({ threshold: 1, writer: "background" }, { maxBytes: 2 * 4096 });
    const first = spool.store(pages[0]!, never);
    await first.taken;
    await spool.store(pages[1]!, never).taken;
    const third = spool.store(pages[2]!, never);
    await spool.acknowledge(await first.durable, never);
    await third.taken;
    await spool.close();
  });

  it("flushes what fills the buffer though it waits for more, as soon as a page does not fit", async () => {
    const idle: Clock = { ...realClock, after: () => () => {} };
    const policy: FlushPolicy = { threshold: 1, writer: "background" };
    const spool = await open(policy, { world: { ...realWorld, clock: idle } });
    const stored = [];
    for (const page of pages.slice(0, untilFlush + 2)) {
      stored.push(spool.store(page, never));
      await stored.at(-1)!.taken;
    }
    await stored[0]!.durable;
    assert.ok(spool.durable >= untilFlush && spool.durable <= 10);
    await spool.close();
  });

  it("fails every page behind one that failed, and none before it", async () => {
    const path = folder.next();
    const spool = await openTestSpool(path, { bufferBytes, policy: background });
    // A folder in its place makes the writing of that page fail.
    await mkdir(join(path, "incoming", "00000002.ndjson.zst.age"));
    const stored = [];
    for (const page of pages.slice(0, 5)) {
      stored.push(spool.store(page, never));
      await stored.at(-1)!.taken;
    }
    await spool.flush();
    const outcomes = await Promise.allSettled(stored.map(({ durable }) => durable));
    const codes = outcomes.map((outcome) =>
      outcome.status === "rejected" ? (outcome.reason as { code: string }).code : "durable",
    );
    assert.deepEqual(codes, ["durable", "durable", "spool-failed", "spool-failed", "spool-failed"]);
    await assert.rejects(spool.store(pages[5]!, never).taken, { code: "spool-failed" });
    assert.deepEqual((await readdir(join(path, "pages"))).length, 2);
    await spool.close();
  });

  it("makes durable what fits a disk that is nearly full, and the rest when there is room", async function () {
    const path = folder.next();
    const unmount = await mountSmallDisk(this, path);
    try {
      const spool = await openTestSpool(path, { bufferBytes, policy: background });
      const ballast = join(path, "ballast");
      // Room is left for a few pages of 4 KiB, not for all.
      await writeFile(ballast, Buffer.alloc(36 * 1024));
      const stored = [];
      for (const page of pages.slice(0, untilFlush)) {
        stored.push(spool.store(page, never));
        await stored.at(-1)!.taken;
      }
      while (spool.durable === 0) await sleep(5);
      await sleep(20);
      assert.ok(spool.durable < untilFlush, `${spool.durable} durable`);
      await writeFile(ballast, "");
      await stored.at(-1)!.durable;
      assert.equal(spool.durable, untilFlush);
      await spool.close();
    } finally {
      unmount();
    }
  });
});

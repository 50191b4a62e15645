import assert from "node:assert/strict";
import { readFile, readdir, rm } from "node:fs/promises";
import { join } from "node:path";
import type { DurablePage } from "../../../src/stages/nouns.ts";
import { acksMost } from "../../../src/stages/pages/spool-acks.ts";
import { makeSealed, never, openTestSpool } from "../../fixtures/pages.ts";
import { useFolder } from "../../fixtures/pipelines.ts";

describe("spool-acks", () => {
  const folder = useFolder();

  async function open(count: number) {
    const path = folder.next();
    const policy = { threshold: 1, writer: "background" } as const;
    const spool = await openTestSpool(path, { policy });
    const stored: Promise<DurablePage>[] = [];
    for (const page of await makeSealed(count)) {
      const { taken, durable } = spool.store(page, never);
      stored.push(durable);
      await taken;
    }
    const durable = await Promise.all(stored);
    const lines = async () =>
      (await readFile(join(path, "acks.ndjson"), "utf8")).split("\n").slice(0, -1);
    return { path, spool, durable, lines };
  }

  it("writes one line for all that are acknowledged together, and then removes their files", async () => {
    const { path, spool, durable, lines } = await open(10);
    const receipts = await Promise.all(durable.map((page) => spool.acknowledge(page, never)));
    assert.deepEqual(receipts, durable);
    assert.equal((await lines()).length, 1);
    assert.deepEqual([spool.acknowledged, spool.usedBytes], [10, 0]);
    assert.deepEqual(await readdir(join(path, "pages")), []);
    const again = await Array.fromAsync(spool.checkpoints());
    assert.deepEqual(
      again.map(({ page }) => page),
      durable.map(({ page }) => page),
    );
    await spool.close();
  });

  it("does not wait for pages that do not come, and writes when many wait", async () => {
    const { spool, durable, lines } = await open(acksMost + 2);
    // Others are durable and might follow: the first waits for them, but not for ever.
    await spool.acknowledge(durable[0]!, never);
    assert.equal((await lines()).length, 1);
    const many = durable.slice(1, 1 + acksMost).map((page) => spool.acknowledge(page, never));
    await Promise.all(many);
    assert.equal((await lines()).length, 2);
    await spool.acknowledge(durable.at(-1)!, never);
    await spool.close();
  });

  it("writes what waits when the spool is closed", async () => {
    const { path, spool, durable } = await open(4);
    const waiting = spool.acknowledge(durable[0]!, never);
    await spool.close();
    assert.equal((await waiting).page, 0);
    const again = await openTestSpool(path);
    assert.equal(again.acknowledged, 1);
    await again.close();
  });

  it("writes nothing of a page whose turn it is not", async () => {
    const { spool, durable, lines } = await open(3);
    for (const page of [durable[1]!, durable[2]!])
      await assert.rejects(spool.acknowledge(page, never), { message: /in order/ });
    await Promise.all(durable.map((page) => spool.acknowledge(page, never)));
    await assert.rejects(spool.acknowledge(durable[0]!, never), { message: /in order/ });
    assert.deepEqual([(await lines()).length, spool.acknowledged], [1, 3]);
    await spool.close();
  });

  it("acknowledges nothing behind a page that failed", async () => {
    const { path, spool, durable, lines } = await open(4);
    await rm(join(path, "pages", durable[0]!.name));
    await assert.rejects(spool.acknowledge(durable[0]!, never), { code: "spool-failed" });
    await assert.rejects(spool.acknowledge(durable[1]!, never), { code: "spool-failed" });
    assert.equal((await lines()).length, 1);
    await spool.close();
  });
});

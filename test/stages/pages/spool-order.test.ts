/** In what order a page becomes durable, is acknowledged and goes: nothing here may be exchanged. */
import assert from "node:assert/strict";
import { realWorld } from "../../../src/stages/world.ts";
import { makeSealed, never, openTestSpool } from "../../fixtures/pages.ts";
import { useFolder } from "../../fixtures/pipelines.ts";
import { writeDown } from "../../fixtures/written-disk.ts";

describe("spool-order", () => {
  const folder = useFolder();

  it("is written, synced, named, its folder synced; then its line written and synced; then it goes", async () => {
    const disk = writeDown();
    const spool = await openTestSpool(folder.next(), { world: { ...realWorld, disk } });
    const [page] = await makeSealed(1);
    disk.calls.splice(0);
    const durable = await spool.store(page!, never).durable;
    disk.calls.push("DURABLE");
    await spool.acknowledge(durable, never);
    disk.calls.push("ACKNOWLEDGED");
    await spool.close();
    const { name } = durable;
    assert.deepEqual(disk.calls, [
      `write ${name}`,
      `sync ${name}`,
      `rename ${name}`,
      "sync pages",
      "DURABLE",
      "write acks.ndjson",
      "datasync acks.ndjson",
      `unlink ${name}`,
      "ACKNOWLEDGED",
    ]);
  });

  it("of several pages, names come in page order after all files are synced, and one sync of the folder ends them", async () => {
    const disk = writeDown();
    const policy = { threshold: 1, writer: "background" } as const;
    const spool = await openTestSpool(folder.next(), { world: { ...realWorld, disk }, policy });
    const pages = await makeSealed(4);
    disk.calls.splice(0);
    const waiting = [];
    for (const page of pages) {
      const { taken, durable } = spool.store(page, never);
      waiting.push(durable);
      await taken;
    }
    const names = (await Promise.all(waiting)).map(({ name }) => name);
    const tail = disk.calls.slice(-5);
    assert.deepEqual(tail, [...names.map((name) => `rename ${name}`), "sync pages"]);
    const syncs = disk.calls.slice(0, -5).filter((call) => call.startsWith("sync "));
    assert.deepEqual(syncs.toSorted(), names.map((name) => `sync ${name}`).toSorted());
    await spool.close();
  });

  it("a folder that fails to sync leaves no name that the next start could believe", async () => {
    let failing = false;
    const disk = writeDown({ failsSync: (name) => failing && name === "pages" });
    const path = folder.next();
    const spool = await openTestSpool(path, { world: { ...realWorld, disk } });
    const [page] = await makeSealed(1);
    failing = true;
    await assert.rejects(spool.store(page!, never).durable);
    failing = false;
    await spool.close();
    const again = await openTestSpool(path);
    assert.equal(again.durable, 0);
    await again.close();
  });

  it("no page becomes durable behind one that failed, though it was taken before that was known", async () => {
    const known = Promise.withResolvers<void>();
    const failsSync = async (name: string) => {
      if (!name.startsWith("00000000")) return false;
      await known.promise;
      return true;
    };
    const disk = writeDown({ failsSync });
    const policy = { threshold: 0, writer: "background" } as const;
    const path = folder.next();
    const spool = await openTestSpool(path, { world: { ...realWorld, disk }, policy });
    const stored = [];
    for (const page of await makeSealed(2)) {
      stored.push(spool.store(page, never));
      await stored.at(-1)!.taken;
    }
    known.resolve();
    for (const { durable } of stored) await assert.rejects(durable);
    await spool.close();
    const again = await openTestSpool(path);
    assert.equal(again.durable, 0);
    await again.close();
  });
});

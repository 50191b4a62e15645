import assert from "node:assert/strict";
import { setTimeout as sleep } from "node:timers/promises";
import * as v from "valibot";
import type { Destination, StoredObject } from "../../../src/stages/destinations/destination.ts";
import { PipelineError } from "../../../src/errors.ts";
import type { DurablePage } from "../../../src/stages/nouns.ts";
import { sealedMost } from "../../../src/stages/pages/chunk.ts";
import type { Spool } from "../../../src/stages/pages/spool-store.ts";
import { destinationOptions, upload } from "../../../src/stages/pages/upload.ts";
import { checkStageContract, collect, testContext } from "../../contract/stage-contract.ts";
import { wholeOf } from "../../../src/stages/durable-file.ts";
import { contentOf, makeSealed, never, openTestSpool, pageBytes } from "../../fixtures/pages.ts";
import { stream, useFolder } from "../../fixtures/pipelines.ts";

type Put = Destination["put"];

/** A destination that only takes. */
function taking(put: Put): Destination {
  const unused = () => assert.fail("upload only puts");
  return {
    url: "test:",
    put,
    get: unused,
    list: unused,
    finish: unused,
    close: async () => {},
  };
}

describe("upload", () => {
  const folder = useFolder();
  const opened: Spool[] = [];
  let spool: Spool;
  let pages: DurablePage[];

  /** A spool of seven durable pages. */
  beforeEach(async () => {
    spool = await openTestSpool(folder.next());
    opened.push(spool);
    pages = [];
    for (const page of await makeSealed(7)) pages.push(await spool.store(page, never).durable);
  });
  afterEach(async () => {
    await Promise.all(opened.splice(0).map((one) => one.close()));
  });

  const start = (put: Put, concurrency = 2) => {
    const context = testContext({ spool, destination: taking(put) });
    const config = v.parse(upload.config, { to: "./out", concurrency });
    return { context, receipts: upload.open(config, context, stream(pages)) };
  };

  describe("as a stage", () => {
    const oneLeft = () => pages.slice(spool.acknowledged);
    checkStageContract({
      stage: Object.assign({}, upload, {
        name: "upload",
        holds: (config: v.InferOutput<typeof upload.config>) => upload.holds(config, pageBytes, 2),
      }),
      config: () => ({ to: "./out" }),
      required: ["to"],
      wrong: { to: "", concurrency: 0, timeout: "soon", pathStyle: "yes", region: "" },
      makeInput: () => oneLeft(),
      // Every run of the contract goes on in the same spool; what it gives is how far it came.
      contentOf: () => spool.acknowledged,
      context: () => ({ spool, destination: taking(async () => {}) }),
    });
  });

  it("puts each page under its run's folder, with length and digest known before", async () => {
    const objects: StoredObject[] = [];
    pages[1]!.traceparent = "00-a-b-01";
    // What lies in the memory is the object's only until the put returns.
    const { receipts, context } = start(async (object) => {
      objects.push({ ...object, bytes: (await wholeOf(object.bytes)).slice() });
    });
    await collect(receipts);
    // Two are under way at once, in any order.
    objects.sort((a, b) => (a.name < b.name ? -1 : 1));
    assert.deepEqual(
      objects.map(({ name }) => name),
      pages.map(({ name }) => `test/${context.run.id}/${name}`),
    );
    for (const [i, { bytes, sha256, traceparent }] of objects.entries()) {
      assert.equal(Buffer.from(await wholeOf(bytes)).toString(), contentOf(i));
      assert.deepEqual(sha256, pages[i]!.sealedDigest);
      assert.equal(traceparent, i === 1 ? "00-a-b-01" : undefined);
    }
  });

  it("acknowledges in page order what is stored in any order, and only what is stored", async () => {
    const stored = new Set<string>();
    const { receipts } = start(async ({ name }) => {
      await sleep(name.includes("0000000.") ? 20 : 1);
      stored.add(name.split("/").at(-1)!);
    }, 3);
    const seen: number[] = [];
    for await (const receipt of receipts) {
      assert.ok(stored.has(receipt.name));
      assert.ok(spool.acknowledged > receipt.page, "the receipt comes after its record");
      seen.push(receipt.page);
    }
    assert.deepEqual(seen, [0, 1, 2, 3, 4, 5, 6]);
    assert.equal(spool.usedBytes, 0);
  });

  it("stores no more at a time than it is told", async () => {
    let now = 0;
    let most = 0;
    const { receipts } = start(async () => {
      now += 1;
      most = Math.max(most, now);
      await sleep(2);
      now -= 1;
    }, 3);
    await collect(receipts);
    assert.equal(most, 3);
  });

  it("stores one page after another, in page order, where the destination takes no more", async () => {
    const destination: Destination = {
      ...taking(async ({ name }) => {
        begun.push(name.split("/").at(-1)!);
        now += 1;
        assert.equal(now, 1, "two pages are under way");
        await sleep(2);
        now -= 1;
      }),
      sequential: true,
    };
    const begun: string[] = [];
    let now = 0;
    const config = v.parse(upload.config, { to: "./out", concurrency: 3 });
    await collect(upload.open(config, testContext({ spool, destination }), stream(pages)));
    assert.deepEqual(
      begun,
      pages.map(({ name }) => name),
    );
  });

  it("keeps in the spool what the destination refused, and fails without waiting for others", async () => {
    const refused = new PipelineError("destination-refused", "no");
    const { receipts } = start(async ({ name }, signal) => {
      if (name.includes("00000001")) throw refused;
      if (name.includes("00000002")) await sleep(60_000, undefined, { signal });
    }, 3);
    const started = performance.now();
    await assert.rejects(collect(receipts), refused);
    assert.ok(performance.now() - started < 1000);
    assert.equal(spool.acknowledged, 1);
    assert.equal(Buffer.from(await spool.read(pages[1]!)).toString(), contentOf(1));
  });

  it("stops with the run's signal while the destination is stuck, with its reason", async () => {
    const { receipts, context } = start((_object, signal) =>
      sleep(60_000, undefined, { signal }).catch(() => signal.throwIfAborted()),
    );
    const reason = new Error("the run is stopped");
    setTimeout(() => context.controller.abort(reason), 20);
    await assert.rejects(collect(receipts), reason);
    assert.equal(spool.acknowledged, 0);
  });

  it("holds what two pages that do not compress take, however many are under way", () => {
    const config = v.parse(upload.config, { to: "./out", concurrency: 4 });
    assert.equal(upload.holds(config, 1000, 2), 2 * sealedMost(1000));
    assert.equal(upload.holds({ ...config, concurrency: 1 }, 1000, 2), sealedMost(1000));
  });

  it("sends pages under way from memory of their own, and uses it again", async () => {
    const seen = new Set<ArrayBufferLike>();
    const now = new Set<ArrayBufferLike>();
    const { receipts } = start(async ({ bytes }) => {
      const { buffer } = await wholeOf(bytes);
      assert.ok(!now.has(buffer), "two uploads share memory");
      now.add(buffer);
      seen.add(buffer);
      await sleep(2);
      now.delete(buffer);
    }, 2);
    await collect(receipts);
    assert.equal(seen.size, 2);
  });

  it("holds what the client of its destination weighs", () => {
    const held = (to: string) => upload.holds(v.parse(upload.config, { to }), pageBytes, 1);
    const folder = held("./out");
    for (const [to, more] of [
      ["s3://bucket/x", 0],
      ["sftp://host/x", 5],
      ["sqlite:./x.db", 12],
    ] as const)
      assert.equal(held(to) - folder, more * 2 ** 20, to);
  });

  it("tells the destination its deadline, and each kind of store what it was given of it", () => {
    const optionsOf = (more: object) =>
      destinationOptions(v.parse(upload.config, { to: "s3://bucket/x", timeout: "5s", ...more }));
    const none = { timeoutMillis: 5000, s3: {}, azblob: {}, https: {}, sftp: {} };
    assert.deepEqual(optionsOf({ region: "eu" }), { ...none, s3: { region: "eu" } });
    const endpoint = "https://host";
    assert.deepEqual(optionsOf({ endpoint, sas: "s", query: "q", password: "p" }), {
      ...none,
      s3: { endpoint },
      azblob: { endpoint, sas: "s" },
      https: { query: "q" },
      sftp: { password: "p" },
    });
    for (const key of [undefined, ["id"]]) {
      const rows = { table: "rows", key: key ?? [] };
      assert.deepEqual(optionsOf({ table: "rows", key }), { ...none, rows });
    }
  });
});

import assert from "node:assert/strict";
import { setTimeout as sleep } from "node:timers/promises";
import * as v from "valibot";
import type { DurablePage, SealedPage } from "../../../src/stages/nouns.ts";
import { spool } from "../../../src/stages/pages/spool.ts";
import type { Spool } from "../../../src/stages/pages/spool-store.ts";
import type { StageContext } from "../../../src/stages/stage.ts";
import { checkStageContract, collect, testContext } from "../../contract/stage-contract.ts";
import { makeSealed, never, openTestSpool, sealedPages } from "../../fixtures/pages.ts";
import { useFolder } from "../../fixtures/pipelines.ts";

const numbers = (pages: readonly DurablePage[]) => pages.map(({ page }) => page);

describe("spool", () => {
  const folder = useFolder();
  const opened: Spool[] = [];
  const open = async (path = folder.next(), more = {}) => {
    const store = await openTestSpool(path, more);
    opened.push(store);
    return store;
  };
  afterEach(async () => {
    await Promise.all(opened.splice(0).map((store) => store.close().catch(() => {})));
  });

  const config = v.parse(spool.config, {});
  const start = (store: Spool, input: (context: StageContext) => AsyncIterable<SealedPage>) => {
    const context = testContext({ spool: store });
    return { context, pages: spool.open(config, context, input(context)) };
  };

  describe("as a stage", () => {
    checkStageContract({
      stage: Object.assign({}, spool, { name: "spool", open: openAndAcknowledge }),
      config: () => ({ dir: "./spool", maxBytes: "1GiB", fullTimeout: "1s" }),
      wrong: { dir: "", maxBytes: 0, fullTimeout: "soon" },
      makeInput: (_pieces, ctx) => sealedPages(3, ctx),
      context: () => ({ spool: openedLater(openTestSpool(folder.next(), { maxBytes: 1 })) }),
    });
  });

  it("gives first what an earlier attempt left, then what comes, in page order", async () => {
    const path = folder.next();
    const earlier = await open(path);
    for (const page of (await makeSealed(5)).slice(0, 2)) await earlier.store(page, never).durable;
    await earlier.close();
    const { pages, context } = start(await open(path), (ctx) => sealedPages(5, ctx, 2));
    assert.deepEqual(numbers(await collect(pages)), [0, 1, 2, 3, 4]);
    assert.equal(context.lease.inUseBytes, 0);
  });

  it("gives each page's memory back as soon as the page is durable, ahead of a stuck upload", async () => {
    const store = await open();
    const { pages, context } = start(store, (ctx) => sealedPages(6, ctx));
    const first = await pages[Symbol.asyncIterator]().next();
    assert.equal((first.value as DurablePage).page, 0);
    while (store.durable < 6) await sleep(5);
    await sleep(5);
    assert.equal(context.lease.inUseBytes, 0);
  });

  it("stores nothing more once its cap is reached, and goes on as pages are acknowledged", async () => {
    const blockBytes = 4096;
    const store = await open(undefined, { maxBytes: 3 * blockBytes });
    const { pages } = start(store, (ctx) => sealedPages(9, ctx));
    let given = 0;
    for await (const page of pages) {
      if (given === 0) {
        await sleep(80);
        assert.equal(store.durable, 3);
      }
      await store.acknowledge(page, never);
      given += 1;
    }
    assert.equal(given, 9);
    assert.ok(store.peakBytes <= 3 * blockBytes);
  });

  it("keeps only numbers of pages that wait, and reads each from its file when it is asked for", async () => {
    const store = await open();
    const { pages } = start(store, (ctx) => sealedPages(4, ctx));
    const asked: number[] = [];
    const { page } = store;
    store.page = (number) => {
      asked.push(number);
      return page(number);
    };
    const iterator = pages[Symbol.asyncIterator]();
    await iterator.next();
    while (store.durable < 4) await sleep(5);
    assert.deepEqual(asked, [0]);
    const second = (await iterator.next()).value as DurablePage;
    assert.deepEqual([second.page, asked], [1, [0, 1]]);
    await iterator.return?.();
  });

  it("fails as its input fails, after the pages that are durable", async () => {
    const failure = new Error("the input fails");
    const { pages, context } = start(await open(), async function* (ctx) {
      yield* sealedPages(2, ctx);
      throw failure;
    });
    const seen: number[] = [];
    await assert.rejects(async () => {
      for await (const { page } of pages) seen.push(page);
    }, failure);
    assert.deepEqual(seen, [0, 1]);
    assert.equal(context.lease.inUseBytes, 0);
  });

  it("fails as the store fails, and releases the page it held", async () => {
    const store = await open(undefined, { maxBytes: 1, fullTimeoutMillis: 10 });
    const { pages, context } = start(store, (ctx) => sealedPages(3, ctx));
    await assert.rejects(collect(pages), { code: "spool-full" });
    assert.equal(context.lease.inUseBytes, 0);
  });
});

/** The stage with an upload behind it: a page is acknowledged when the consumer asks for the next one. */
async function* openAndAcknowledge(
  config: v.InferOutput<typeof spool.config>,
  ctx: StageContext,
  input: AsyncIterable<SealedPage>,
): AsyncGenerator<DurablePage> {
  try {
    for await (const page of spool.open(config, ctx, input)) {
      yield page;
      await ctx.spool.acknowledge(page, never);
    }
  } finally {
    await ctx.spool.close();
  }
}

/** A spool whose folder is still being opened. */
function openedLater(opening: Promise<Spool>): Spool {
  const later: Partial<Spool> = {
    store(...args) {
      const stored = opening.then((spool) => spool.store(...args));
      const durable = stored.then((both) => both.durable);
      durable.catch(() => {});
      return { taken: stored.then((both) => both.taken), durable };
    },
    flush: async () => (await opening).flush(),
    page: async (...args) => (await opening).page(...args),
    acknowledge: async (...args) => (await opening).acknowledge(...args),
    async *backlog() {
      yield* (await opening).backlog();
    },
    close: async () => (await opening).close(),
  };
  return later as Spool;
}

import assert from "node:assert/strict";
import { readdirSync, readlinkSync } from "node:fs";
import { setTimeout as sleep } from "node:timers/promises";
import * as v from "valibot";
import { sealThreads } from "../../src/pipeline/ledger.ts";
import { PipelineError } from "../../src/errors.ts";
import type { Kind, SourceEnd } from "../../src/stages/nouns.ts";
import type { Destination } from "../../src/stages/destinations/destination.ts";
import { defineStage, type StageUse } from "../../src/stages/stage.ts";
import { createPool, type Pool } from "../../src/workers/pool.ts";
import {
  countedRows,
  makePipeline,
  numbered,
  plainOf,
  sourceEnd,
  sourceOf,
  useFolder,
} from "../fixtures/pipelines.ts";
import { flowThrough } from "./flows.ts";

interface Failing {
  readonly at: number | "last";
  readonly error: unknown;
}

interface Passing {
  readonly release?: () => void;
  readonly final?: boolean;
  readonly end?: unknown;
}

interface Watched {
  opened: number;
  closed: number;
}

/** Passes items of one kind on; fails at the item of this number, giving back what it holds. */
function probe(kind: Kind, watched: Watched, fail?: Failing): StageUse {
  return defineStage({
    name: `probe-${kind}`,
    summary: "Passes on.",
    config: v.strictObject({}),
    takes: kind,
    gives: kind,
    holds: () => 0,
    async *open(_config, _ctx, input) {
      watched.opened += 1;
      let count = 0;
      try {
        for await (const item of input as AsyncIterable<Passing>) {
          const last = item.final === true || item.end !== undefined;
          if (fail && (fail.at === "last" ? last : fail.at === count)) {
            item.release?.();
            throw fail.error;
          }
          count += 1;
          yield item as never;
        }
      } finally {
        watched.closed += 1;
      }
    },
  })({});
}

/** The stage each kind comes out of. */
const places: Record<string, Kind> = {
  "test-source": "rows",
  serialize: "records",
  chunk: "pages",
  compress: "frames",
  encrypt: "sealed",
  spool: "durable",
  upload: "receipts",
};

/** What this process has open below a folder. */
function openBelow(path: string): string[] {
  const links = readdirSync("/proc/self/fd").map((fd) => {
    try {
      return readlinkSync(`/proc/self/fd/${fd}`);
    } catch {
      return "";
    }
  });
  return links.filter((link) => link.startsWith(path));
}

describe("flow", () => {
  const folder = useFolder();
  let pool: Pool;
  before(() => {
    pool = createPool(1);
  });
  after(() => pool.close());
  const dir = "./unused";
  const to = "./unused";

  const hangs: Destination["put"] = (_object, signal) => sleep(60_000, undefined, { signal });

  /** Lets what nobody waits for come to its end. */
  async function settled(check: () => boolean): Promise<void> {
    for (let i = 0; i < 200 && !check(); i += 1) await sleep(5);
  }

  it("takes every row to a receipt, in order, and leaves nothing behind", async () => {
    const source = countedRows({ rows: 500 });
    const { objects, lease, spool, error } = await flowThrough(makePipeline({ source, dir, to }), {
      pool,
      path: folder.next(),
    });
    assert.equal(error, undefined);
    const lines = Array.from({ length: 500 }, (_, id) => `${JSON.stringify(numbered(id))}\n`);
    assert.equal(plainOf(objects), lines.join(""));
    assert.deepEqual([lease.inUseBytes, spool.usedBytes], [0, 0]);
    assert.equal(spool.acknowledged, objects.size);
    assert.ok(spool.facts);
  });

  it("stops the source within two batches once the spool is full and the destination stuck", async () => {
    let batches = 0;
    const source = countedRows({ rows: 100_000, onBatch: () => void (batches += 1) });
    const stop = new AbortController();
    const pipeline = makePipeline({ source, dir, to, fullTimeout: 60_000 });
    const flowing = flowThrough(pipeline, {
      pool,
      path: folder.next(),
      maxBytes: 1,
      signal: stop.signal,
      put: hangs,
    });
    let before = -1;
    while (batches !== before) {
      before = batches;
      await sleep(300);
    }
    // A batch fills one page; one page is stored, and the lease holds what is on its way.
    const inFlight = 1 + sealThreads() + 4;
    assert.ok(batches <= inFlight + 2, `${batches} batches were pulled`);
    stop.abort(new Error("enough"));
    const { error, lease } = await flowing;
    assert.ok(error instanceof PipelineError && error.code === "stopped");
    await settled(() => lease.inUseBytes === 0);
    assert.equal(lease.inUseBytes, 0);
  });

  it("stops resumably at the deadline of a full spool, behind uploads that hang", async () => {
    const source = countedRows({ rows: 100_000 });
    const pipeline = makePipeline({ source, dir, to, fullTimeout: 100 });
    const path = folder.next();
    const { error, lease } = await flowThrough(pipeline, { pool, path, maxBytes: 1, put: hangs });
    assert.ok(error instanceof PipelineError);
    assert.deepEqual([error.code, error.exitCode], ["spool-full", 75]);
    await settled(() => lease.inUseBytes === 0);
    assert.equal(lease.inUseBytes, 0);
  });

  for (const [stage, kind] of Object.entries(places)) {
    for (const at of [0, 3, "last"] as const) {
      it(`keeps the root cause and closes everything when ${kind} fail at ${at}`, async () => {
        const watched: Watched = { opened: 0, closed: 0 };
        const failure = new PipelineError("source-failed", "the root cause");
        const fail = { at, error: failure };
        const behind = Object.fromEntries(
          Object.entries(places).map(([name, passed]) => [
            name,
            probe(passed, watched, name === stage ? fail : undefined),
          ]),
        );
        const source = countedRows({ rows: 400 });
        const pipeline = makePipeline({ source, dir, to, behind });
        const path = folder.next();
        const { error, lease } = await flowThrough(pipeline, { pool, path });
        assert.equal(error, failure);
        const isClosed = () => openBelow(path).length === 0 && watched.opened === watched.closed;
        await settled(() => isClosed() && lease.inUseBytes === 0);
        assert.equal(watched.opened, 7);
        assert.equal(watched.closed, 7, "every stage is closed");
        assert.equal(lease.inUseBytes, 0);
        assert.equal(pool.inFlight, 0);
        assert.deepEqual(openBelow(path), [], "files are open");
      });
    }
  }

  it("tells the first failure where others follow from it", async () => {
    const root = new PipelineError("source-failed", "the source is gone");
    const source = sourceOf(async function* () {
      yield* [];
      throw root;
    });
    const { error } = await flowThrough(makePipeline({ source, dir, to }), {
      pool,
      path: folder.next(),
      put: async () => {
        throw new PipelineError("destination-failed", "noise");
      },
    });
    assert.equal(error, root);
    assert.equal(root.stage, "test-source");
  });

  it("refuses an end that no manifest can hold where the source gives it, as the source's", async () => {
    const ends = {
      "consistency.class": { consistency: { class: "hope", proof: {} } },
      "consistency.proof": { consistency: { class: "stream", proof: { a: 1.5 } } },
      queryDigest: { queryDigest: "none" },
      rows: { rows: 0.5 },
    };
    for (const [path, wrong] of Object.entries(ends)) {
      const end = { ...sourceEnd(0), ...wrong } as SourceEnd;
      const source = sourceOf(() => [{ shape: "documents", columns: [], rows: [], bytes: 0, end }]);
      const { error, objects } = await flowThrough(makePipeline({ source, dir, to }), {
        pool,
        path: folder.next(),
      });
      assert.ok(error instanceof PipelineError);
      assert.deepEqual([error.code, error.stage], ["source-bad-data", "test-source"]);
      assert.match(error.message, new RegExp(`^test-source: the \`${path}\` it ends with`));
      assert.equal(objects.size, 0);
    }
  });

  it("is stopped, resumable, when the caller's signal fires, whatever the stages make of it", async () => {
    const stop = new AbortController();
    const source = sourceOf(async function* ({ signal }) {
      setTimeout(() => stop.abort(), 10);
      await sleep(60_000, undefined, { signal }).catch(() => {
        throw new PipelineError("source-failed", "the wait was cut off");
      });
      yield* [];
    });
    const { error } = await flowThrough(makePipeline({ source, dir, to }), {
      pool,
      path: folder.next(),
      signal: stop.signal,
    });
    assert.ok(error instanceof PipelineError);
    assert.deepEqual([error.code, error.exitCode], ["stopped", 75]);
  });

  const stuck: Record<string, () => unknown> = {
    "an async function": () => new Promise(() => {}),
    "an async generator": async function* () {
      yield await new Promise(() => {});
    },
  };
  for (const [name, work] of Object.entries(stuck)) {
    it(`ends at once on an abort while ${name} hangs`, async () => {
      const stop = new AbortController();
      setTimeout(() => stop.abort(), 50);
      const begun = performance.now();
      const { error } = await flowThrough(
        makePipeline({ source: countedRows({ rows: 9 }), rows: [work], dir, to }),
        { pool, path: folder.next(), signal: stop.signal },
      );
      assert.ok(error instanceof PipelineError && error.code === "stopped");
      assert.ok(performance.now() - begun < 2000);
    });
  }

  it("leaves a stage that hears no signal behind, in bounded time", async () => {
    const stop = new AbortController();
    setTimeout(() => stop.abort(), 50);
    const source = sourceOf(async function* () {
      yield* [];
      await new Promise(() => {});
    });
    const { error } = await flowThrough(makePipeline({ source, dir, to }), {
      pool,
      path: folder.next(),
      signal: stop.signal,
    });
    assert.ok(error instanceof PipelineError && error.code === "stopped");
  }).timeout(12_000);

  it("gives a reason of the caller's own as it is", async () => {
    const reason = new PipelineError("interrupted", "Ctrl-C");
    const { error } = await flowThrough(
      makePipeline({ source: countedRows({ rows: 1 }), dir, to }),
      { pool, path: folder.next(), signal: AbortSignal.abort(reason) },
    );
    assert.equal(error, reason);
  });

  it("calls what is not ours a defect of ours, and keeps it as the cause", async () => {
    const bug = new TypeError("secret row");
    const source = sourceOf(() => {
      throw bug;
    });
    const { error } = await flowThrough(makePipeline({ source, dir, to }), {
      pool,
      path: folder.next(),
    });
    assert.ok(error instanceof PipelineError);
    assert.equal(error.code, "internal");
    assert.equal(error.cause, bug);
    assert.doesNotMatch(error.message, /secret/);
  });
});

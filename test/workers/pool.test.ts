import assert from "node:assert/strict";
import { hash } from "node:crypto";
import { cp, mkdtemp, rm, symlink, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { mock } from "node:test";
import { setImmediate as turn, setTimeout as sleep } from "node:timers/promises";
import type { Worker } from "node:worker_threads";
import { generateAgeIdentity, identityToRecipient } from "../../src/workers/age.ts";
import { decodeFrame } from "../../src/workers/frame.ts";
import { createPool, type Pool } from "../../src/workers/pool.ts";
import type { SealTask } from "../../src/workers/seal.ts";

const root = join(import.meta.dirname, "../..");
const text = '{"id":1}\n'.repeat(1000);
const minuteMillis = 60_000;
const never = new AbortController().signal;

function taskOf(page: number, more: Partial<SealTask> = {}): SealTask {
  const bytes = Buffer.from(text);
  const content = new Uint8Array(new SharedArrayBuffer(bytes.length));
  content.set(bytes);
  const identity = {
    run: "r1",
    page,
    records: 1000,
    total: 1000,
    span: "whole",
    bytes: bytes.length,
    chain: "00".repeat(32),
    final: true,
  } as const;
  const compress = { codec: "zstd", level: 1 } as const;
  return { content, identity, compress, ...more };
}

/** A page for so many that wrapping its key takes long enough to end a worker meanwhile. */
const slowTask = (page: number, readers: number) =>
  taskOf(page, { encrypt: { to: Array<string>(readers).fill(reader) } });

/** So many that nobody waits for the end. */
const endless = 300_000;

const opened = (bytes: Uint8Array) =>
  Buffer.from(decodeFrame(bytes, "zstd", 1 << 20).content).toString();

let reader: string;

describe("pool", function () {
  this.timeout(60_000);
  let pool: Pool;
  /** Each thread that lives, and whether it is ready: it takes pages from then on. */
  const workers = new Map<Worker, boolean>();
  const meet = (worker: Worker) => {
    workers.set(worker, false);
    worker.once("message", () => workers.set(worker, true));
    worker.once("exit", () => workers.delete(worker));
  };
  const readyOnes = () => [...workers.keys()].filter((worker) => workers.get(worker));
  const untilThere = async (count: number) => {
    while (workers.size !== count) await sleep(5);
  };

  before(async () => {
    reader = await identityToRecipient(await generateAgeIdentity());
  });
  beforeEach(() => {
    process.on("worker", meet);
    pool = createPool(2);
  });
  afterEach(async () => {
    await pool.close();
    process.off("worker", meet);
    // No thread is left; the last words of one come a turn later than its end.
    await untilThere(0);
  });

  /** Ends every thread that is ready; one that is not is never replaced. */
  const endReady = () => Promise.all(readyOnes().map((worker) => worker.terminate()));

  it("seals pages in threads and leaves them where they lie", async () => {
    const tasks = Array.from({ length: 8 }, (_, page) => taskOf(page));
    const sealed = await Promise.all(tasks.map((task) => pool.seal(task, never)));
    for (const [i, { bytes, sealedDigest }] of sealed.entries()) {
      assert.equal(opened(bytes), text);
      assert.deepEqual(Buffer.from(sealedDigest), hash("sha256", bytes, "buffer"));
      assert.equal(Buffer.from(tasks[i]!.content).toString(), text);
    }
  });

  it("counts what is in flight", async () => {
    const running = [pool.seal(taskOf(0), never), pool.seal(taskOf(1), never)];
    assert.equal(pool.inFlight, 2);
    await Promise.all(running);
    assert.equal(pool.inFlight, 0);
  });

  it("gives what the work found as the error it was, at once", async () => {
    const content = Buffer.from("shorter than its identity says");
    await assert.rejects(pool.seal(taskOf(4, { content }), never), {
      name: "PipelineError",
      code: "integrity-failed",
      message: /page 4/,
    });
    await assert.rejects(pool.seal(taskOf(0, { encrypt: { to: ["age1wrong"] } }), never), {
      code: "config-invalid",
    });
  });

  it("tries a page again whose worker died; the page survives", async () => {
    while (readyOnes().length < pool.threads) await sleep(5);
    const born = readyOnes();
    const sealing = pool.seal(slowTask(1, 500), never);
    await endReady();
    const { bytes } = await sealing;
    await untilThere(born.length);
    assert.ok(!born.some((worker) => workers.has(worker)), "new threads took over");
    assert.match(Buffer.from(bytes).toString("latin1"), /^age-encryption\.org\/v1\n-> X25519 /);
  });

  it("gives up after three deaths on one page, and names it", async () => {
    const sealing = pool.seal(slowTask(7, endless), never);
    const failure = { code: "internal", message: /died 3 times on page 7/ };
    let isOver = false;
    const refused = assert.rejects(sealing, failure).finally(() => (isOver = true));
    while (!isOver) {
      await endReady();
      await sleep(5);
    }
    await refused;
  });

  for (const [left, kind] of [
    [undefined, "ERR_MODULE_NOT_FOUND"],
    ["export const half = {", "ERR_INVALID_TYPESCRIPT_SYNTAX"],
  ] as const)
    it(`ends at once, and says so, where of the workers' code there is ${left === undefined ? "no file" : `"${left}"`}`, async () => {
      const folder = await mkdtemp(join(tmpdir(), "spillway-pool-"));
      try {
        await cp(join(root, "src/workers"), join(folder, "workers"), { recursive: true });
        await cp(join(root, "src/errors.ts"), join(folder, "errors.ts"));
        await symlink(join(root, "node_modules"), join(folder, "node_modules"));
        const code = join(folder, "workers/seal-worker.ts");
        await (left === undefined ? rm(code) : writeFile(code, left));
        const module = (await import(join(folder, "workers/pool.ts"))) as {
          createPool: typeof createPool;
        };
        const incomplete = module.createPool(2);
        const failure = { code: "internal", message: new RegExp(`no worker starts \\(${kind}\\)`) };
        const refused = (page: number) =>
          assert.rejects(incomplete.seal(taskOf(page), never), failure);
        await Promise.all([0, 1, 2].map(refused));
        await refused(3);
        await incomplete.close();
      } finally {
        await rm(folder, { recursive: true });
      }
    });

  it("takes a page from a worker that is stuck, though the other answers, and names it in the end", async () => {
    mock.timers.enable({ apis: ["setInterval"] });
    const watched = createPool(2);
    try {
      const stuck = watched.seal(slowTask(7, endless), never);
      let over = false;
      stuck.catch(() => (over = true));
      for (let deaths = 0; deaths < 3; deaths += 1) {
        for (let minute = 0; minute < 2; minute += 1) {
          assert.equal(opened((await watched.seal(taskOf(minute), never)).bytes), text);
          assert.equal(over, false);
          mock.timers.tick(minuteMillis);
        }
        mock.timers.tick(minuteMillis / 2);
      }
      await assert.rejects(stuck, {
        code: "internal",
        message: /did not answer in 2 minutes 3 times on page 7/,
      });
      assert.equal(opened((await watched.seal(taskOf(8), never)).bytes), text);
    } finally {
      await watched.close();
      mock.timers.reset();
    }
  });

  it("ends at once when the signal fires, with its reason, and works on afterwards", async () => {
    const stop = new AbortController();
    const reason = new Error("the run is stopped");
    const sealing = [0, 1, 2, 3].map((page) => pool.seal(slowTask(page, 5000), stop.signal));
    let ended = 0;
    for (const one of sealing) one.catch(() => (ended += 1));
    while (readyOnes().length === 0) await sleep(5);
    stop.abort(reason);
    await turn();
    assert.equal(ended, sealing.length);
    for (const one of sealing) await assert.rejects(one, reason);
    assert.equal(pool.inFlight, 0);
    assert.equal(opened((await pool.seal(taskOf(5), never)).bytes), text);
  });

  it("takes an answer that crosses with an abort for none, and goes on", async () => {
    for (let round = 0; round < 10; round += 1) {
      const stop = new AbortController();
      const sealing = [0, 1, 2].map((page) => pool.seal(taskOf(page), stop.signal));
      await Promise.race(sealing);
      stop.abort();
      await Promise.allSettled(sealing);
      await turn();
    }
    assert.equal(opened((await pool.seal(taskOf(5), never)).bytes), text);
  });

  it("refuses at once when the signal has fired already", async () => {
    const reason = new Error("stopped");
    await assert.rejects(pool.seal(taskOf(0), AbortSignal.abort(reason)), reason);
  });

  it("leaves no timer and no listener behind for a page", async () => {
    const timers = () =>
      process.getActiveResourcesInfo().filter((what) => what === "Timeout").length;
    const { signal } = new AbortController();
    let listeners = 0;
    const add = signal.addEventListener.bind(signal);
    const remove = signal.removeEventListener.bind(signal);
    signal.addEventListener = (...args: Parameters<typeof add>) => {
      listeners += 1;
      add(...args);
    };
    signal.removeEventListener = (...args: Parameters<typeof remove>) => {
      listeners -= 1;
      remove(...args);
    };
    await pool.seal(taskOf(0), never);
    const earlier = timers();
    for (let page = 0; page < 20; page += 1) await pool.seal(taskOf(page), signal);
    assert.equal(timers(), earlier);
    assert.equal(listeners, 0);
  });

  it("closes once, however often it is told, and refuses work afterwards", async () => {
    await pool.seal(taskOf(0), never);
    await Promise.all([pool.close(), pool.close()]);
    await pool.close();
    await assert.rejects(pool.seal(taskOf(0), never), { code: "internal", message: /closed/ });
  });
});

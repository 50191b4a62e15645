import assert from "node:assert/strict";
import { hash } from "node:crypto";
import { setImmediate as turn, setTimeout as sleep } from "node:timers/promises";
import type { Worker } from "node:worker_threads";
import { generateAgeIdentity, identityToRecipient } from "../../src/workers/age.ts";
import { decodeFrame } from "../../src/workers/frame.ts";
import { createPool, type Pool } from "../../src/workers/pool.ts";
import type { SealTask } from "../../src/workers/seal.ts";

const text = '{"id":1}\n'.repeat(1000);
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

/** A page for so many that wrapping its key takes seconds: long enough to end a worker meanwhile. */
const slowTask = (page: number, readers = 3000) =>
  taskOf(page, { encrypt: { to: Array<string>(readers).fill(reader) } });

const opened = (bytes: Uint8Array) =>
  Buffer.from(decodeFrame(bytes, "zstd", 1 << 20).content).toString();

let reader: string;

describe("pool", function () {
  this.timeout(60_000);
  let pool: Pool;
  const workers = new Set<Worker>();
  const meet = (worker: Worker) => {
    workers.add(worker);
    worker.once("exit", () => workers.delete(worker));
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
    // The last words of a thread come a turn later than its end.
    for (let tries = 0; workers.size > 0 && tries < 100; tries += 1) await sleep(20);
    assert.equal(workers.size, 0, "threads are left");
  });

  /** Ends every thread, after time enough for new ones to have begun a page. */
  async function killAll(afterMillis: number): Promise<void> {
    await sleep(afterMillis);
    await Promise.all([...workers].map((worker) => worker.terminate()));
  }

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
    await pool.seal(taskOf(0), never);
    const born = workers.size;
    const sealing = pool.seal(slowTask(1, 500), never);
    await killAll(100);
    const { bytes } = await sealing;
    assert.equal(workers.size, born, "new threads took over");
    assert.match(Buffer.from(bytes).toString("latin1"), /^age-encryption\.org\/v1\n-> X25519 /);
  });

  it("gives up after three deaths on one page, and names it", async () => {
    await pool.seal(taskOf(0), never);
    let over = false;
    const sealing = pool.seal(slowTask(7, 30_000), never).finally(() => (over = true));
    sealing.catch(() => {});
    // A busy machine takes longer to start a thread; one that ends before it has the page is no death on it.
    for (let millis = 400; !over; millis *= 1.5) await killAll(millis);
    await assert.rejects(sealing, { code: "internal", message: /died 3 times on page 7/ });
  });

  it("ends at once when the signal fires, with its reason, and works on afterwards", async () => {
    const stop = new AbortController();
    const reason = new Error("the run is stopped");
    const sealing = [0, 1, 2, 3].map((page) => pool.seal(slowTask(page), stop.signal));
    for (const one of sealing) one.catch(() => {});
    await sleep(60);
    const started = performance.now();
    stop.abort(reason);
    for (const one of sealing) await assert.rejects(one, reason);
    assert.ok(performance.now() - started < 1000);
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

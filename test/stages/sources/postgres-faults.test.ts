/** What the network, an administrator and an abort do to a running read: always an error in time, never an end. */
import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { setTimeout as sleep } from "node:timers/promises";
import { PipelineError } from "../../../src/errors.ts";
import { openSession } from "../../../src/stages/sources/postgres-session.ts";
import { openSource } from "../../servers/postgres.ts";
import { manyRows, useFaultyPostgres } from "../../servers/postgres-faults.ts";

const postgres = useFaultyPostgres();

/** Reads some batches, does harm, and gives the error that the rest of the read ends with. */
async function readUntilHarm(
  tag: string,
  harm: () => unknown,
  timeout = "5s",
): Promise<{ error: PipelineError; millis: number; rows: number }> {
  let rows = 0;
  let harmed = 0;
  try {
    for await (const batch of openSource({
      url: postgres.url,
      query: manyRows(tag),
      batch: "64KiB",
      timeout,
    })) {
      rows += batch.rows.length;
      assert.equal(batch.end, undefined, "no end is announced");
      if (rows < 5000 || harmed > 0) continue;
      harmed = performance.now();
      await harm();
    }
  } catch (error) {
    assert.ok(error instanceof PipelineError, String(error));
    return { error, millis: performance.now() - harmed, rows };
  }
  return assert.fail("the read came to an end");
}

describe("postgres under faults", () => {
  it("fails when its backend is terminated", async () => {
    const { error, millis } = await readUntilHarm("terminated", () =>
      postgres.terminate("terminated"),
    );
    assert.equal(error.code, "source-failed");
    assert.match(error.message, /57P01, operator intervention|the connection to the server ended/);
    assert.ok(millis < 1000);
  });

  it("fails when its backend is terminated while the consumer pauses", async () => {
    const { error } = await readUntilHarm("paused", async () => {
      await postgres.terminate("paused");
      await sleep(300);
    });
    assert.equal(error.code, "source-failed");
  });

  it("fails on a reset connection", async () => {
    const { error, millis } = await readUntilHarm("reset", () => postgres.proxy.reset());
    assert.equal(error.code, "source-failed");
    assert.match(error.message, /the connection to the server ended \(ECONNRESET\)/);
    assert.ok(millis < 1000);
    await postgres.assertGone("reset", 20);
  });

  it("fails on a connection that the other side ended", async () => {
    const { error, millis } = await readUntilHarm("ended", () => postgres.proxy.end());
    assert.equal(error.code, "source-failed");
    assert.ok(millis < 1000);
    await postgres.assertGone("ended", 20);
  });

  it("fails on a connection cut in the middle of a row", async () => {
    const { error } = await readUntilHarm("cut", () => postgres.proxy.cutAfter(12_345));
    assert.equal(error.code, "source-failed");
    await postgres.assertGone("cut", 20);
  });

  it("fails when the network swallows everything, after `timeout`", async () => {
    const { error, millis } = await readUntilHarm(
      "swallowed",
      () => (postgres.proxy.mode = "black-hole"),
      "500ms",
    );
    assert.equal(error.code, "source-failed");
    assert.match(error.message, /the server was silent for 500 ms after \d+ rows; .*`timeout`/);
    assert.ok(millis >= 450 && millis < 1800, `${millis}`);
  });

  it("fails when the server computes longer than `timeout`, and stops it", async () => {
    const source = openSource({
      url: postgres.url,
      query: "select pg_sleep(60), 'sleeper'",
      timeout: "300ms",
    });
    await assert.rejects(source.next(), { code: "source-failed", retriable: true });
    await postgres.assertGone("sleeper", 20);
  });

  it("does not count the consumer's pauses as silence", async () => {
    let rows = 0;
    const query = "select 'slow', generate_series(1, 3000)";
    for await (const batch of openSource({
      url: postgres.url,
      query,
      batch: "64KiB",
      timeout: "200ms",
    })) {
      rows += batch.rows.length;
      await sleep(60);
    }
    assert.equal(rows, 3000);
  });

  it("ends within a second of an abort in the middle of a fetch, and stops the server", async () => {
    const stop = new AbortController();
    const query = "select 'busy', count(*) from generate_series(1, 10000000000)";
    const source = openSource({ url: postgres.url, query }, stop.signal);
    const reading = source.next();
    reading.catch(() => {});
    while ((await postgres.backends("busy")).length === 0) await sleep(20);
    await sleep(200);
    const reason = new Error("enough");
    const started = performance.now();
    stop.abort(reason);
    await assert.rejects(reading, reason);
    assert.ok(performance.now() - started < 1000);
    await postgres.assertGone("busy", 20);
  });

  it("ends at once on an abort between fetches, even when nobody asks again", async () => {
    const stop = new AbortController();
    const source = openSource({ url: postgres.url, query: manyRows("idle-abort") }, stop.signal);
    await source.next();
    stop.abort(new Error("enough"));
    await postgres.assertGone("idle-abort", 20);
    await assert.rejects(source.next(), /enough/);
  });

  it("ends with the abort's own reason, whatever it is, while a question is asked", async () => {
    const stop = new AbortController();
    const session = await openSession(
      { url: postgres.url, connectMillis: 5000, answerMillis: 5000 },
      stop.signal,
    );
    const reason = new Error("enough");
    setTimeout(() => stop.abort(reason), 50);
    await assert.rejects(session.ask("select pg_sleep(5)"), reason);
    await session.close();
  });

  it("ends on an abort while connecting, and does not start when aborted before", async () => {
    postgres.proxy.mode = "black-hole";
    const stop = new AbortController();
    const reading = openSource({ url: postgres.url, query: "select 1" }, stop.signal).next();
    setTimeout(() => stop.abort(new Error("enough")), 50);
    await assert.rejects(reading, /enough/);
    await assert.rejects(
      openSource({ url: postgres.url, query: "select 1" }, stop.signal).next(),
      /enough/,
    );
  });

  it("lets the process end by itself after leaving early and after a failure", async () => {
    const script = `
      import { postgres } from "./src/stages/sources/postgres.ts";
      import { createLease } from "./src/stages/lease.ts";
      const ctx = { signal: new AbortController().signal, lease: createLease(1e6) };
      for (const [query, timeout] of [["select generate_series(1, 1000000)", 5000], ["select pg_sleep(60)", 200]]) {
        const config = { url: process.argv[1], query, params: [], batch: 65536, timeout, connectTimeout: 5000 };
        const source = postgres.open(config, ctx, []);
        await source.next().catch((error) => console.log(error.code));
        await source.return();
      }`;
    const { stdout } = await promisify(execFile)(
      process.execPath,
      ["--input-type=module", "--eval", script, postgres.direct],
      { timeout: 10_000, cwd: fileURLToPath(new URL("../../../", import.meta.url)) },
    );
    assert.equal(stdout, "source-failed\n");
  });
});

/** What the network, the server, an administrator and an abort do to a COPY: an error in time, never an end. */
import assert from "node:assert/strict";
import { setTimeout as sleep } from "node:timers/promises";
import { PipelineError } from "../../../../src/errors.ts";
import { CopyWalker } from "../../../../src/stages/sources/postgres-copy/copy-walker.ts";
import { openSession } from "../../../../src/stages/sources/postgres-session.ts";
import { WireQuery } from "../../../../src/stages/sources/postgres-wire/wire-query.ts";
import { runSql } from "../../../servers/postgres.ts";
import { type Config, copyOptions, formats, openCopy, writeCopy } from "./copy-files.ts";
import { startLossyProxy } from "../../../servers/lossy-proxy.ts";
import { manyRows, useFaultyPostgres } from "../../../servers/postgres-faults.ts";

const copyData = 0x64;
const postgres = useFaultyPostgres();

/** Reads some batches, does harm, and gives the error that the rest of the read ends with. */
async function readUntilHarm(tag: string, harm: () => unknown, timeout = "5s") {
  let harmed = 0;
  let records = 0;
  try {
    const config: Config = { url: postgres.url, query: manyRows(tag), format: "binary", timeout };
    for await (const batch of openCopy(config)) {
      records += batch.ends.length;
      assert.equal(batch.end, undefined, "no end is announced");
      if (records < 5000 || harmed > 0) continue;
      harmed = performance.now();
      await harm();
    }
  } catch (error) {
    assert.ok(error instanceof PipelineError, String(error));
    return { error, millis: performance.now() - harmed };
  }
  return assert.fail("the read came to an end");
}

async function failure(config: Config): Promise<PipelineError> {
  let error: unknown;
  await writeCopy(config).catch((thrown: unknown) => (error = thrown));
  assert.ok(error instanceof PipelineError, String(error));
  assert.equal(error.cause, undefined);
  return error;
}

describe("a COPY under faults", () => {
  it("fails when its backend is terminated or its connection reset or ended, busy and paused", async () => {
    for (const pause of [0, 300]) {
      for (const harm of ["terminate", "reset", "end"] as const) {
        const tag = `copy-${harm}-${pause}`;
        const { error, millis } = await readUntilHarm(tag, async () => {
          if (harm === "terminate") await postgres.terminate(tag);
          else postgres.proxy[harm]();
          await sleep(pause);
        });
        assert.equal(error.code, "source-failed");
        assert.match(error.message, /57P01, operator intervention|connection to the server ended/);
        assert.ok(millis < 1000 + pause);
        await postgres.assertGone(tag);
      }
    }
  });

  it("fails on a connection that ended after any part of the answer", async () => {
    const query = "select 'copy-cut', g, repeat('x', g % 50) from generate_series(1, 200) g";
    for (const format of formats) {
      const config: Config = { url: postgres.url, query, format };
      const before = openCopy(config);
      await before.next();
      const asked = postgres.proxy.bytesToClient;
      for await (const batch of before) assert.ok(batch.bytes);
      const answerBytes = postgres.proxy.bytesToClient - asked - 100;
      assert.ok(answerBytes > 7000);
      for (let bytes = 1; bytes < answerBytes; bytes += 1499) {
        const cut = openCopy(config);
        await cut.next();
        postgres.proxy.cutAfter(bytes);
        await assert.rejects(
          async () => {
            for await (const batch of cut) assert.equal(batch.end, undefined);
          },
          { code: "source-failed" },
        );
      }
    }
    await postgres.assertGone("copy-cut");
  });

  it("fails when the network swallows everything, after `timeout`", async () => {
    const swallow = () => (postgres.proxy.mode = "black-hole");
    const { error, millis } = await readUntilHarm("copy-swallowed", swallow, "500ms");
    assert.match(error.message, /the server was silent for 500 ms after \d+ rows; .*`timeout`/);
    assert.ok(millis >= 450 && millis < 1800, `${millis}`);
  });

  it("fails when the server computes longer than `timeout`, and stops it", async () => {
    const query = "select pg_sleep(60), 'copy-sleeper'";
    const error = await failure({ url: postgres.url, query, format: "csv", timeout: "300ms" });
    assert.deepEqual([error.code, error.retriable], ["source-failed", true]);
    await postgres.assertGone("copy-sleeper");
  });

  it("ends within a second of an abort, busy or idle, and stops the server", async () => {
    for (const query of [
      "select 'copy-abort', count(*) from generate_series(1, 10000000000)",
      manyRows("copy-abort"),
    ]) {
      const stop = new AbortController();
      const source = openCopy(
        { url: postgres.url, query, format: "text" },
        { signal: stop.signal },
      );
      await source.next();
      const busy = query.includes("count");
      if (!busy) for (let taken = 0; taken < 2; taken += 1) await source.next();
      const reading = busy ? source.next() : undefined;
      reading?.catch(() => {});
      while ((await postgres.backends("copy-abort")).length === 0) await sleep(20);
      const reason = new Error("enough");
      const started = performance.now();
      stop.abort(reason);
      await assert.rejects(reading ?? source.next(), reason);
      assert.ok(performance.now() - started < 1000);
      await postgres.assertGone("copy-abort");
    }
  });

  it("leaves the socket unread and memory flat while its consumer is stuck", async () => {
    const source = openCopy({ url: postgres.url, query: manyRows("copy-stuck"), format: "text" });
    for (let taken = 0; taken < 4; taken += 1) await source.next();
    await sleep(300);
    const [bytes, rss] = [postgres.proxy.bytesToClient, process.memoryUsage.rss()];
    await sleep(700);
    assert.equal(postgres.proxy.bytesToClient, bytes);
    assert.ok(process.memoryUsage.rss() - rss < 8 * 2 ** 20);
    const waits = await runSql(
      postgres.direct,
      "select wait_event from pg_stat_activity where query like '%copy-stuck%' and pid <> pg_backend_pid()",
    );
    assert.deepEqual(waits, [["ClientWrite"]]);
    await source.return(undefined);
    await postgres.assertGone("copy-stuck");
  });
});

describe("a COPY and what the server says", () => {
  it("notices a row that got lost on the way", async () => {
    for (const format of formats) {
      const lossy = await startLossyProxy(
        Number(new URL(postgres.direct).port),
        copyData,
        (row) => row === 17,
      );
      const query = "select generate_series(1, 300), 'lossy'";
      const lossyUrl = postgres.direct.replace(/:\d+\//, `:${lossy.port}/`);
      const error = await failure({ url: lossyUrl, query, format });
      await lossy.close();
      assert.equal(error.code, "source-failed");
      assert.match(error.message, /states 300 rows but sent 299/);
    }
  });

  it("stops at an error in the middle, with the rows before it counted", async () => {
    const query = "select 1 / (100000 - g), repeat('secret', 9) from generate_series(1, 200000) g";
    for (const format of formats) {
      const error = await failure({ url: postgres.url, query, format });
      assert.equal(error.code, "source-refused");
      assert.match(error.message, /after 99999 rows.*22012/);
      assert.deepEqual(error.details, { rows: 99_999, sqlstate: "22012" });
    }
  });

  it("keeps an error as long as a value to its code", async () => {
    const query =
      "select repeat(case when g = 3 then 'secret' else '1' end, 1 + (g / 3) * 5000000)::numeric from generate_series(1, 3) g";
    const error = await failure({ url: postgres.url, query, format: "csv" });
    assert.match(error.message, /SQLSTATE 22P02, data exception/);
    assert.doesNotMatch(JSON.stringify([error.message, error.stack, error.details]), /secret/);
  });

  it("reads on through a flood of notices and changed parameters", async () => {
    await runSql(
      postgres.direct,
      `create or replace function copy_noise(g int) returns int language plpgsql as $$ begin
         raise notice '% %', g, repeat('noise', case when g % 1000 = 0 then 100000 else 1 end);
         perform set_config('application_name', 'noisy ' || g, true);
         return g;
       end $$`,
    );
    const query = "select copy_noise(g) as g from generate_series(1, 5000) g";
    const { file, last } = await writeCopy({ url: postgres.url, query, format: "csv" });
    const numbers = Array.from({ length: 5000 }, (_, i) => `${i + 1}\n`);
    assert.equal(file.toString(), `g\n${numbers.join("")}`);
    assert.equal(last.end?.rows, 5000);
  });

  it("gives the connection back as it was", async () => {
    const session = await openSession(
      { url: postgres.url, connectMillis: 5000, answerMillis: 5000 },
      new AbortController().signal,
    );
    for (const rows of [0, 1, 100_000]) {
      const sql = `copy (select g, 'given back' from generate_series(1, ${rows}) g) to stdout (${copyOptions.binary})`;
      const copy = new WireQuery(
        session,
        { sql, values: [], isBinary: [] },
        (onMessage) => new CopyWalker("binary", 100_000, onMessage),
      );
      while (await copy.next()) copy.walker.output.take();
      copy.release();
      assert.equal(copy.walker.output.records, rows);
      assert.deepEqual((await session.ask("select 'still', 'here'")).rows, [["still", "here"]]);
    }
    const started = performance.now();
    await session.close();
    assert.ok(performance.now() - started < 300, "it says goodbye");
  });
});

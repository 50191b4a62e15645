/** What the network, the server, an administrator and an abort do to a fast read: an error in time, never an end. */
import assert from "node:assert/strict";
import { setTimeout as sleep } from "node:timers/promises";
import { PipelineError } from "../../../../src/errors.ts";
import { openSession } from "../../../../src/stages/sources/postgres-session.ts";
import { RowWalker } from "../../../../src/stages/sources/postgres-wire/data-rows.ts";
import { recordLayouts } from "../../../../src/stages/sources/postgres-wire/record-layouts.ts";
import { describeQuery } from "../../../../src/stages/sources/postgres-types.ts";
import { isBinaryKind } from "../../../../src/stages/sources/postgres-wire/value-kinds.ts";
import { WireQuery } from "../../../../src/stages/sources/postgres-wire/wire-query.ts";
import { runSql } from "../../../servers/postgres.ts";
import { type Config, openRecords, writeRecords } from "./wire-records.ts";
import { startForwardingProxy, startLossyProxy } from "../../../servers/lossy-proxy.ts";
import { manyRows, useFaultyPostgres } from "../../../servers/postgres-faults.ts";

const dataRow = 0x44;
const postgres = useFaultyPostgres();

/** Reads some batches, does harm, and gives the error that the rest of the read ends with. */
async function readUntilHarm(tag: string, harm: () => unknown, timeout = "5s") {
  let records = 0;
  let harmed = 0;
  try {
    for await (const batch of openRecords(
      { url: postgres.url, query: manyRows(tag), timeout },
      "ndjson",
    )) {
      records += batch.ends.length;
      assert.equal(batch.end, undefined, "no end is announced");
      if (records < 5000 || harmed > 0) continue;
      harmed = performance.now();
      await harm();
    }
  } catch (error) {
    assert.ok(error instanceof PipelineError, String(error));
    return { error, millis: performance.now() - harmed, records };
  }
  return assert.fail("the read came to an end");
}

async function failure(config: Config): Promise<PipelineError> {
  let error: unknown;
  await writeRecords(config, "ndjson").catch((thrown: unknown) => (error = thrown));
  assert.ok(error instanceof PipelineError, String(error));
  assert.equal(error.cause, undefined);
  return error;
}

describe("postgres straight to records, under faults", () => {
  it("fails when its backend is terminated, while reading and while its consumer pauses", async () => {
    for (const pause of [0, 300]) {
      const { error, millis } = await readUntilHarm(`wire-ended-${pause}`, async () => {
        await postgres.terminate(`wire-ended-${pause}`);
        await sleep(pause);
      });
      assert.equal(error.code, "source-failed");
      assert.match(error.message, /57P01, operator intervention|connection to the server ended/);
      assert.ok(millis < 1000 + pause);
    }
  });

  it("fails on a reset and on an ended connection, while reading and while its consumer pauses", async () => {
    for (const pause of [0, 300]) {
      for (const harm of ["reset", "end"] as const) {
        const tag = `wire-${harm}-${pause}`;
        const { error, millis } = await readUntilHarm(tag, async () => {
          postgres.proxy[harm]();
          await sleep(pause);
        });
        assert.equal(error.code, "source-failed");
        assert.match(error.message, /the connection to the server ended/);
        assert.ok(millis < 1000 + pause);
        await postgres.assertGone(tag);
      }
    }
  });

  it("fails on a connection that ended after any byte of the answer", async () => {
    const query = "select 'wire-cut', g, repeat('x', g % 50) from generate_series(1, 200) g";
    let left = Number.POSITIVE_INFINITY;
    let passed = 0;
    const cutter = await startForwardingProxy(
      Number(new URL(postgres.direct).port),
      (bytes, client) => {
        passed += bytes.length;
        client.write(bytes.subarray(0, left));
        left -= bytes.length;
        if (left <= 0) client.end();
      },
    );
    const config = { url: postgres.direct.replace(/:\d+\//, `:${cutter.port}/`), query };
    const source = openRecords(config, "ndjson");
    await source.next();
    passed = 0;
    await source.next();
    await source.return(undefined);
    const answerBytes = passed;
    assert.ok(answerBytes > 9000);
    for (
      let bytes = 0;
      bytes < answerBytes;
      bytes += bytes < 30 || bytes > answerBytes - 40 ? 7 : 997
    ) {
      left = Number.POSITIVE_INFINITY;
      const cut = openRecords(config, "ndjson");
      await cut.next();
      left = bytes;
      await assert.rejects(
        async () => {
          for await (const batch of cut) assert.equal(batch.end, undefined);
        },
        { code: "source-failed" },
        `${bytes} of ${answerBytes}`,
      );
    }
    await cutter.close();
    await postgres.assertGone("wire-cut");
  });

  it("fails when the network swallows everything, after `timeout`", async () => {
    const { error, millis } = await readUntilHarm(
      "wire-swallowed",
      () => (postgres.proxy.mode = "black-hole"),
      "500ms",
    );
    assert.match(error.message, /the server was silent for 500 ms after \d+ rows; .*`timeout`/);
    assert.ok(millis >= 450 && millis < 1800, `${millis}`);
  });

  it("fails when the server computes longer than `timeout`, and stops it", async () => {
    const query = "select pg_sleep(60), 'wire-sleeper'";
    const error = await failure({ url: postgres.url, query, timeout: "300ms" });
    assert.deepEqual([error.code, error.retriable], ["source-failed", true]);
    await postgres.assertGone("wire-sleeper");
  });

  it("does not count the consumer's pauses as silence", async () => {
    let records = 0;
    const query = "select 'slow', repeat('x', 1000) from generate_series(1, 4000)";
    for await (const batch of openRecords(
      { url: postgres.url, query, timeout: "200ms" },
      "ndjson",
    )) {
      records += batch.ends.length;
      await sleep(300);
    }
    assert.equal(records, 4000);
  });

  it("ends within a second of an abort, busy or idle, and stops the server", async () => {
    for (const query of [
      "select 'wire-abort', count(*) from generate_series(1, 10000000000)",
      manyRows("wire-abort"),
    ]) {
      const stop = new AbortController();
      const source = openRecords({ url: postgres.url, query }, "ndjson", { signal: stop.signal });
      await source.next();
      const busy = query.includes("count");
      if (!busy) await source.next();
      const reading = busy ? source.next() : undefined;
      reading?.catch(() => {});
      while ((await postgres.backends("wire-abort")).length === 0) await sleep(20);
      const reason = new Error("enough");
      const started = performance.now();
      stop.abort(reason);
      await assert.rejects(reading ?? source.next(), reason);
      assert.ok(performance.now() - started < 1000);
      await postgres.assertGone("wire-abort");
    }
  });

  it("closes the connection when its consumer leaves, before the first row and after", async () => {
    for (const batches of [1, 2, 4]) {
      const source = openRecords({ url: postgres.url, query: manyRows("wire-leaves") }, "csv");
      for (let taken = 0; taken < batches; taken += 1) await source.next();
      await source.return(undefined);
      await postgres.assertGone("wire-leaves");
    }
  });

  it("leaves the socket unread and memory flat while its consumer is stuck", async () => {
    const source = openRecords({ url: postgres.url, query: manyRows("wire-stuck") }, "ndjson");
    for (let taken = 0; taken < 4; taken += 1) await source.next();
    await sleep(300);
    const [bytes, rss] = [postgres.proxy.bytesToClient, process.memoryUsage.rss()];
    await sleep(700);
    assert.equal(postgres.proxy.bytesToClient, bytes);
    assert.ok(process.memoryUsage.rss() - rss < 8 * 2 ** 20);
    const waits = await runSql(
      postgres.direct,
      "select wait_event from pg_stat_activity where query like '%wire-stuck%' and pid <> pg_backend_pid()",
    );
    assert.deepEqual(waits, [["ClientWrite"]]);
    await source.return(undefined);
  });
});

describe("postgres straight to records: what the server says", () => {
  it("notices a row that got lost on the way", async () => {
    for (const lost of [1, 300]) {
      const lossy = await startLossyProxy(
        Number(new URL(postgres.direct).port),
        dataRow,
        (row) => row === lost,
      );
      const lossyUrl = postgres.direct.replace(/:\d+\//, `:${lossy.port}/`);
      const error = await failure({
        url: lossyUrl,
        query: "select generate_series(1, 300), 'lossy'",
      });
      await lossy.close();
      assert.equal(error.code, "source-failed");
      assert.match(error.message, /states 300 rows but sent 299/);
    }
  });

  it("stops at an error in the middle, with the rows before it counted", async () => {
    const query = "select 1 / (100000 - g), repeat('x', 50) from generate_series(1, 200000) g";
    const error = await failure({ url: postgres.url, query });
    assert.equal(error.code, "source-refused");
    assert.match(error.message, /after 99999 rows.*22012/);
    assert.deepEqual(error.details, { rows: 99_999, sqlstate: "22012" });
  });

  it("stops at the statement's own time limit", async () => {
    const error = await failure({
      url: postgres.url,
      query: "select pg_sleep(5)",
      statementTimeout: "100ms",
    });
    assert.equal(error.code, "source-failed");
    assert.match(error.message, /57014.*statementTimeout/);
  });

  it("refuses what is no single select", async () => {
    for (const [query, message] of [
      ["select 1; select 2", /more than one statement/],
      ["set timezone = 'UTC'", /gives no rows/],
      ["-- nothing", /gives no rows/],
      ["show server_version", /states no row count/],
      ["select secret_name from nowhere", /SQLSTATE 42P01/],
    ] as const) {
      const error = await failure({ url: postgres.url, query });
      assert.equal(error.code, "source-refused");
      assert.match(error.message, message);
      assert.doesNotMatch(error.message, /nowhere|secret_name/);
    }
  });

  it("keeps an error as long as a value to its code", async () => {
    for (const query of [
      "select repeat('secret', 5000000)::int",
      "select repeat(case when g = 3 then 'secret' else '1' end, 1 + (g / 3) * 5000000)::numeric from generate_series(1, 3) g",
    ]) {
      const error = await failure({ url: postgres.url, query });
      assert.equal(error.code, "source-refused");
      assert.match(error.message, /SQLSTATE 22P02, data exception/);
      assert.doesNotMatch(JSON.stringify([error.message, error.stack, error.details]), /secret/);
    }
  });

  it("reads on through a flood of notices and changed parameters", async () => {
    await runSql(
      postgres.direct,
      `create or replace function wire_noise(g int) returns int language plpgsql as $$ begin
         raise notice '% %', g, repeat('noise', case when g % 1000 = 0 then 100000 else 1 end);
         perform set_config('application_name', 'noisy ' || g, true);
         return g;
       end $$`,
    );
    const query = "select wire_noise(g) as g from generate_series(1, 5000) g";
    const { text, last } = await writeRecords({ url: postgres.url, query }, "ndjson");
    assert.equal(text, Array.from({ length: 5000 }, (_, i) => `{"g":${i + 1}}\n`).join(""));
    assert.equal(last.end?.rows, 5000);
  });

  it("gives the connection back as it was", async () => {
    const session = await openSession(
      { url: postgres.url, connectMillis: 5000, answerMillis: 5000 },
      new AbortController().signal,
    );
    for (const rows of [0, 1, 100_000]) {
      const query = `select g, 'given back' as t from generate_series(1, ${rows}) g`;
      const { columns, oids, sql } = await describeQuery(session, query, "json");
      const typed = columns.map((column, index) => ({ ...column, oid: oids[index]! }));
      const layout = recordLayouts["ndjson"]!(typed);
      const isBinary = layout.columns.map(({ kind }) => isBinaryKind(kind));
      const wire = new WireQuery(
        session,
        { sql, values: [], isBinary },
        (onMessage) => new RowWalker(layout, 100_000, onMessage),
      );
      while (await wire.next()) wire.walker.output.take();
      wire.release();
      assert.equal(wire.walker.output.records, rows);
      assert.deepEqual((await session.ask("select 'still', 'here'")).rows, [["still", "here"]]);
    }
    const started = performance.now();
    await session.close();
    assert.ok(performance.now() - started < 300, "it says goodbye");
  });
});

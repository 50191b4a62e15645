/** What the network, the server, an administrator and an abort do to a COPY: an error in time, never an end. */
import assert from "node:assert/strict";
import { connect, createServer } from "node:net";
import { setTimeout as sleep } from "node:timers/promises";
import { PipelineError } from "../../../../src/errors.ts";
import { CopyWalker } from "../../../../src/stages/sources/postgres-copy/copy-walker.ts";
import { openSession } from "../../../../src/stages/sources/postgres-session.ts";
import { WireQuery } from "../../../../src/stages/sources/postgres-wire/wire-query.ts";
import { runSql, sharedPostgres } from "../../../servers/postgres.ts";
import { type TcpProxy, startTcpProxy } from "../../../servers/tcp-proxy.ts";
import { type Config, copyOptions, formats, openCopy, writeCopy } from "./copy-files.ts";

let direct = "";
let url = "";
let proxy: TcpProxy;

before(async () => {
  direct = (await sharedPostgres()).url;
});
beforeEach(async () => {
  const { port } = new URL(direct);
  proxy = await startTcpProxy(Number(port));
  url = direct.replace(`:${port}`, `:${proxy.port}`);
});
afterEach(() => proxy.close().catch(() => {}));

const manyRows = (tag: string) =>
  `select '${tag}' as tag, generate_series(1, 5000000), repeat('x', 100)`;

async function backends(tag: string): Promise<readonly string[]> {
  const rows = await runSql(
    direct,
    `select pid from pg_stat_activity where query like '%${tag}%' and pid <> pg_backend_pid()`,
  );
  return rows.map(([pid]) => String(pid));
}

async function assertGone(tag: string): Promise<void> {
  for (let tries = 0; tries < 40; tries += 1) {
    if ((await backends(tag)).length === 0) return;
    await sleep(25);
  }
  assert.fail("the backend is still there");
}

const terminate = async (tag: string) => {
  const [pid] = await backends(tag);
  await runSql(direct, `select pg_terminate_backend(${pid})`);
};

/** Reads some batches, does harm, and gives the error that the rest of the read ends with. */
async function readUntilHarm(tag: string, harm: () => unknown, timeout = "5s") {
  let harmed = 0;
  let records = 0;
  try {
    const config: Config = { url, query: manyRows(tag), format: "binary", timeout };
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
          if (harm === "terminate") await terminate(tag);
          else proxy[harm]();
          await sleep(pause);
        });
        assert.equal(error.code, "source-failed");
        assert.match(error.message, /57P01, operator intervention|connection to the server ended/);
        assert.ok(millis < 1000 + pause);
        await assertGone(tag);
      }
    }
  });

  it("fails on a connection that ended after any part of the answer", async () => {
    const query = "select 'copy-cut', g, repeat('x', g % 50) from generate_series(1, 200) g";
    for (const format of formats) {
      const config: Config = { url, query, format };
      const before = openCopy(config);
      await before.next();
      const asked = proxy.bytesToClient;
      for await (const batch of before) assert.ok(batch.bytes);
      const answerBytes = proxy.bytesToClient - asked - 100;
      assert.ok(answerBytes > 7000);
      for (let bytes = 1; bytes < answerBytes; bytes += 1499) {
        const cut = openCopy(config);
        await cut.next();
        proxy.cutAfter(bytes);
        await assert.rejects(
          async () => {
            for await (const batch of cut) assert.equal(batch.end, undefined);
          },
          { code: "source-failed" },
        );
      }
    }
    await assertGone("copy-cut");
  });

  it("fails when the network swallows everything, after `timeout`", async () => {
    const swallow = () => (proxy.mode = "black-hole");
    const { error, millis } = await readUntilHarm("copy-swallowed", swallow, "500ms");
    assert.match(error.message, /the server was silent for 500 ms after \d+ rows; .*`timeout`/);
    assert.ok(millis >= 450 && millis < 1800, `${millis}`);
  });

  it("fails when the server computes longer than `timeout`, and stops it", async () => {
    const query = "select pg_sleep(60), 'copy-sleeper'";
    const error = await failure({ url, query, format: "csv", timeout: "300ms" });
    assert.deepEqual([error.code, error.retriable], ["source-failed", true]);
    await assertGone("copy-sleeper");
  });

  it("ends within a second of an abort, busy or idle, and stops the server", async () => {
    for (const query of [
      "select 'copy-abort', count(*) from generate_series(1, 10000000000)",
      manyRows("copy-abort"),
    ]) {
      const stop = new AbortController();
      const source = openCopy({ url, query, format: "text" }, { signal: stop.signal });
      await source.next();
      const busy = query.includes("count");
      if (!busy) for (let taken = 0; taken < 2; taken += 1) await source.next();
      const reading = busy ? source.next() : undefined;
      reading?.catch(() => {});
      while ((await backends("copy-abort")).length === 0) await sleep(20);
      const reason = new Error("enough");
      const started = performance.now();
      stop.abort(reason);
      await assert.rejects(reading ?? source.next(), reason);
      assert.ok(performance.now() - started < 1000);
      await assertGone("copy-abort");
    }
  });

  it("leaves the socket unread and memory flat while its consumer is stuck", async () => {
    const source = openCopy({ url, query: manyRows("copy-stuck"), format: "text" });
    for (let taken = 0; taken < 4; taken += 1) await source.next();
    await sleep(300);
    const [bytes, rss] = [proxy.bytesToClient, process.memoryUsage.rss()];
    await sleep(700);
    assert.equal(proxy.bytesToClient, bytes);
    assert.ok(process.memoryUsage.rss() - rss < 8 * 2 ** 20);
    const waits = await runSql(
      direct,
      "select wait_event from pg_stat_activity where query like '%copy-stuck%' and pid <> pg_backend_pid()",
    );
    assert.deepEqual(waits, [["ClientWrite"]]);
    await source.return(undefined);
    await assertGone("copy-stuck");
  });
});

describe("a COPY and what the server says", () => {
  it("notices a row that got lost on the way", async () => {
    for (const format of formats) {
      const lossy = await startLossyProxy(Number(new URL(direct).port), 17);
      const query = "select generate_series(1, 300), 'lossy'";
      const lossyUrl = direct.replace(/:\d+\//, `:${lossy.port}/`);
      const error = await failure({ url: lossyUrl, query, format });
      await lossy.close();
      assert.equal(error.code, "source-failed");
      assert.match(error.message, /states 300 rows but sent 299/);
    }
  });

  it("stops at an error in the middle, with the rows before it counted", async () => {
    const query = "select 1 / (100000 - g), repeat('secret', 9) from generate_series(1, 200000) g";
    for (const format of formats) {
      const error = await failure({ url, query, format });
      assert.equal(error.code, "source-refused");
      assert.match(error.message, /after 99999 rows.*22012/);
      assert.deepEqual(error.details, { rows: 99_999, sqlstate: "22012" });
    }
  });

  it("keeps an error as long as a value to its code", async () => {
    const query =
      "select repeat(case when g = 3 then 'secret' else '1' end, 1 + (g / 3) * 5000000)::numeric from generate_series(1, 3) g";
    const error = await failure({ url, query, format: "csv" });
    assert.match(error.message, /SQLSTATE 22P02, data exception/);
    assert.doesNotMatch(JSON.stringify([error.message, error.stack, error.details]), /secret/);
  });

  it("reads on through a flood of notices and changed parameters", async () => {
    await runSql(
      direct,
      `create or replace function copy_noise(g int) returns int language plpgsql as $$ begin
         raise notice '% %', g, repeat('noise', case when g % 1000 = 0 then 100000 else 1 end);
         perform set_config('application_name', 'noisy ' || g, true);
         return g;
       end $$`,
    );
    const query = "select copy_noise(g) as g from generate_series(1, 5000) g";
    const { file, last } = await writeCopy({ url, query, format: "csv" });
    const numbers = Array.from({ length: 5000 }, (_, i) => `${i + 1}\n`);
    assert.equal(file.toString(), `g\n${numbers.join("")}`);
    assert.equal(last.end?.rows, 5000);
  });

  it("gives the connection back as it was", async () => {
    const session = await openSession(
      { url, connectMillis: 5000, answerMillis: 5000 },
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

/** A proxy that loses one row, by its number, of those that hold the word. */
async function startLossyProxy(port: number, lost: number) {
  const listener = createServer((client) => {
    const server = connect(port, "127.0.0.1");
    const drop = () => [client, server].map((socket) => socket.destroy());
    for (const socket of [client, server]) socket.on("error", drop).on("close", drop);
    client.on("data", (bytes) => server.write(bytes));
    let waiting = Buffer.alloc(0);
    let row = 0;
    server.on("data", (bytes) => {
      waiting = Buffer.concat([waiting, bytes]);
      while (waiting.length >= 5 && waiting.length > waiting.readInt32BE(1)) {
        const message = waiting.subarray(0, 1 + waiting.readInt32BE(1));
        waiting = waiting.subarray(message.length);
        const isRow = message[0] === 0x64 && message.includes("lossy");
        if (isRow) row += 1;
        if (!isRow || row !== lost) client.write(message);
      }
    });
  });
  await new Promise<void>((resolve) => listener.listen(0, "127.0.0.1", resolve));
  const address = listener.address();
  return {
    port: typeof address === "object" && address ? address.port : 0,
    close: () => new Promise<void>((resolve) => listener.close(() => resolve())),
  };
}

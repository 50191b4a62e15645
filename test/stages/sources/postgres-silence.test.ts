/** A network that swallows everything is told from a server that computes, long before `timeout`. */
import assert from "node:assert/strict";
import { setTimeout as sleep } from "node:timers/promises";
import { PipelineError } from "../../../src/errors.ts";
import { listen } from "../../../src/stages/sources/postgres-silence.ts";
import { openSource, runSql, sharedPostgres } from "../../servers/postgres.ts";
import { manyRows } from "../../servers/postgres-faults.ts";
import { startTcpProxy, type TcpProxy } from "../../servers/tcp-proxy.ts";
import { openRecords } from "./postgres-wire/wire-records.ts";

type Harm = (proxy: TcpProxy) => void;
type Path = "rows" | "wire";

/** Reads through a proxy of its own, does harm, and gives the error that the read ends with. */
async function harmed(path: Path, harm: Harm, query = manyRows("silent")): Promise<PipelineError> {
  const { url } = await sharedPostgres();
  const { port } = new URL(url);
  const proxy = await startTcpProxy(Number(port));
  const config = { url: url.replace(`:${port}`, `:${proxy.port}`), query };
  try {
    const source = path === "rows" ? openSource(config) : openRecords(config, "ndjson");
    await source.next();
    if (path === "wire") await source.next();
    harm(proxy);
    for await (const batch of source) assert.equal(batch.end, undefined, "no end is announced");
  } catch (error) {
    assert.ok(error instanceof PipelineError, String(error));
    return error;
  } finally {
    await proxy.close();
  }
  return assert.fail("the read came to an end");
}

const harms = {
  swallowed: (proxy: TcpProxy) => (proxy.mode = "black-hole"),
  stuck: (proxy: TcpProxy) => proxy.loseExisting("to-client lost"),
  forgotten: (proxy: TcpProxy) => proxy.forgetClients(),
};

async function rowsOf(batches: AsyncIterable<{ readonly end?: { readonly rows: number } }>) {
  let rows: number | undefined;
  for await (const { end } of batches) rows = end?.rows;
  return rows;
}

describe("a silent PostgreSQL", () => {
  let errors: Record<keyof typeof harms, Promise<readonly PipelineError[]>>;
  let computed: Promise<unknown>;
  // All at once, since each of them waits.
  before(async () => {
    const { url } = await sharedPostgres();
    const query = "select 'computing', pg_sleep(3.5)";
    computed = Promise.all([
      rowsOf(openSource({ url, query })),
      rowsOf(openRecords({ url, query }, "ndjson")),
    ]);
    const read = (harm: Harm) => Promise.all([harmed("rows", harm), harmed("wire", harm)]);
    errors = {
      swallowed: read(harms.swallowed),
      stuck: read(harms.stuck),
      forgotten: read(harms.forgotten),
    };
    for (const promise of [computed, ...Object.values(errors)]) promise.catch(() => {});
  });

  const given = async (harm: keyof typeof harms, said: RegExp) => {
    for (const { code, message, details } of await errors[harm]) {
      assert.equal(code, "source-failed");
      assert.match(message, said);
      assert.ok(Number(details["rows"]) > 0);
    }
  };

  it("is given up when nobody answers two further connections either", () =>
    given("swallowed", /nobody answered a second connection, and then a third/));

  it("is given up when what it sends does not arrive", () =>
    given("stuck", /what one side sends does not arrive at the other/));

  it("is given up when it no longer knows of the connection", () =>
    given("forgotten", /the server no longer knows of it/));

  it("is believed while it computes", async () => {
    assert.deepEqual(await computed, [1, 1]);
  });
});

describe("a PostgreSQL that answers while this thread is busy", () => {
  const work = (millis: number) => {
    for (const until = performance.now() + millis; performance.now() < until;);
  };

  it("is heard before it is given up", async () => {
    const { url } = await sharedPostgres();
    const source = openSource({ url, query: manyRows("busy"), timeout: "300ms" });
    for (let taken = 0; taken < 3; taken += 1) {
      assert.equal((await source.next()).done, false);
      work(500);
    }
    await source.return(undefined);
  });

  it("is not taken for one that does not answer a question", async () => {
    const { url } = await sharedPostgres();
    const rows = rowsOf(openSource({ url, query: "select 'asked meanwhile', pg_sleep(8)" }));
    rows.catch(() => {});
    await sleep(500);
    for (let times = 0; times < 4; times += 1) {
      // One turn of the loop: a connection takes several.
      await new Promise(setImmediate);
      work(1700);
    }
    assert.equal(await rows, 1);
  });
});

describe("a PostgreSQL that does not answer a question in time", () => {
  it("is asked again", async () => {
    const { url } = await sharedPostgres();
    const { port } = new URL(url);
    const proxy = await startTcpProxy(Number(port));
    try {
      const query = "select 'late once', pg_sleep(4)";
      const source = openSource({ url: url.replace(`:${port}`, `:${proxy.port}`), query });
      const rows = rowsOf(source);
      rows.catch(() => {});
      const underWay = `select from pg_stat_activity
        where state = 'active' and query like '%late once%' and pid <> pg_backend_pid()`;
      while ((await runSql(url, underWay)).length === 0) await sleep(20);
      proxy.mode = "black-hole";
      // The question comes after a second, and is waited for half a second longer than that.
      await sleep(1800);
      proxy.mode = "pass";
      assert.equal(await rows, 1);
    } finally {
      await proxy.close();
    }
  });
});

describe("the wait for a silent server", () => {
  it("does not count a rest, and begins anew when something is waited for again", async () => {
    const failures: unknown[] = [];
    const options = { url: "postgres://nobody.invalid", answerMillis: 40 };
    const fail = (reason: unknown) => void failures.push(reason);
    const listening = listen({ options, backend: undefined, fail }, () => 7);
    try {
      listening.rest();
      await sleep(120);
      assert.deepEqual(failures, []);
      listening.heard();
      await sleep(400);
      assert.match(String(failures[0]), /the server was silent for 40 ms after 7 rows/);
      assert.equal(failures.length, 1);
    } finally {
      listening.stop();
    }
  });
});

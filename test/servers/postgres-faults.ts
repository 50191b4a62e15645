/** What the tests of faults share: a PostgreSQL behind a proxy that can be cut, and the backends that run a query. */
import assert from "node:assert/strict";
import { setTimeout as sleep } from "node:timers/promises";
import { runSql, sharedPostgres } from "./postgres.ts";
import { type TcpProxy, startTcpProxy } from "./tcp-proxy.ts";

const triesMillis = 25;

export interface FaultyPostgres {
  /** The server itself. */
  readonly direct: string;
  /** Through the proxy of this test. */
  readonly url: string;
  readonly proxy: TcpProxy;
  /** Process ids of the backends whose query has `tag` in it. */
  backends(tag: string): Promise<readonly string[]>;
  /** Waits up to `tries` times 25 ms until none is left. */
  assertGone(tag: string, tries?: number): Promise<void>;
  terminate(tag: string): Promise<void>;
}

/** Registers the hooks of the file that calls it; what it gives is there once a test runs. */
export function useFaultyPostgres(): FaultyPostgres {
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

  const backends = async (tag: string) => {
    const rows = await runSql(
      direct,
      `select pid from pg_stat_activity where query like '%${tag}%' and pid <> pg_backend_pid()`,
    );
    return rows.map(([pid]) => String(pid));
  };
  return {
    get direct() {
      return direct;
    },
    get url() {
      return url;
    },
    get proxy() {
      return proxy;
    },
    backends,
    async assertGone(tag, tries = 40) {
      for (let left = tries; left > 0; left -= 1) {
        if ((await backends(tag)).length === 0) return;
        await sleep(triesMillis);
      }
      assert.fail("the backend is still there");
    },
    async terminate(tag) {
      const [pid] = await backends(tag);
      await runSql(direct, `select pg_terminate_backend(${pid})`);
    },
  };
}

/** More rows than any test reads to the end. */
export const manyRows = (tag: string) =>
  `select '${tag}' as tag, generate_series(1, 5000000), repeat('x', 100)`;

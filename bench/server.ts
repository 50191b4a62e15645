/** The server a benchmark reads from, and the CPU seconds it has used: a PostgreSQL from npm, or one that is named. */
import { readFile } from "node:fs/promises";
import { Client } from "pg";
import { startPostgres } from "../src/cli/demo-postgres.ts";

export interface BenchServer {
  readonly url: string;
  /** User and system seconds of the server and all its backends so far, ended ones too. */
  cpuSeconds(): Promise<number>;
  stop(): Promise<void>;
}

/** A table below a quarter of `shared_buffers` stays in it; without the rest, scans of one table take one time and one order. */
const settings = {
  shared_buffers: "5GB",
  autovacuum: "off",
  synchronize_seqscans: "off",
  max_parallel_workers_per_gather: "0",
};

/** @param url a server on this machine that has the table already; by default one is started for the time being */
export async function openServer(
  url?: string,
  more: Readonly<Record<string, string>> = {},
): Promise<BenchServer> {
  if (url) return { url, ...countCpu(await postmasterOf(url)), stop: async () => {} };
  const server = await startPostgres({ settings: { ...settings, ...more } });
  return { url: server.url, ...countCpu(server.pid), stop: server.stop };
}

/** Runs one statement and gives its first value. */
export async function askServer(url: string, sql: string): Promise<unknown> {
  const client = new Client({ connectionString: url });
  await client.connect();
  try {
    const { rows } = await client.query({ text: sql, rowMode: "array" });
    return (rows as unknown[][])[0]?.[0];
  } finally {
    await client.end();
  }
}

async function postmasterOf(url: string): Promise<number> {
  const client = new Client({ connectionString: url });
  await client.connect();
  try {
    const { rows } = await client.query<{ pid: number }>("select pg_backend_pid() as pid");
    return (await readStat(rows[0]!.pid))?.parent ?? 0;
  } finally {
    await client.end();
  }
}

/** What Linux counts in, for a user of any machine (`getconf CLK_TCK`). */
const ticksPerSecond = 100;

/** The postmaster reaps its backends: their time is in its own children's time once they have ended. */
function countCpu(postmaster: number): Pick<BenchServer, "cpuSeconds"> {
  return {
    async cpuSeconds() {
      const path = `/proc/${postmaster}/task/${postmaster}/children`;
      const children = (await readFile(path, "utf8").catch(() => "")).trim().split(/\s+/);
      const stats = await Promise.all(children.map((pid) => readStat(Number(pid))));
      const own = await readStat(postmaster);
      const ticks = stats.reduce((sum, stat) => sum + (stat?.ownTicks ?? 0), 0);
      return (ticks + (own?.ownTicks ?? 0) + (own?.reapedTicks ?? 0)) / ticksPerSecond;
    },
  };
}

async function readStat(pid: number) {
  const text = await readFile(`/proc/${pid}/stat`, "utf8").catch(() => "");
  // The name in parentheses may hold anything; the numbers begin behind it, with the state as field 3.
  const fields = text.slice(text.lastIndexOf(")") + 2).split(" ");
  if (fields.length < 20) return undefined;
  const field = (number: number) => Number(fields[number - 3]);
  return {
    parent: field(4),
    ownTicks: field(14) + field(15),
    reapedTicks: field(16) + field(17),
  };
}

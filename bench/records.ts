/**
 * How fast rows of PostgreSQL become NDJSON, and at what cost to the client: our fast path, our row path, and the textbook
 * (`pg-query-stream`, an object a row, `JSON.stringify`). The records go nowhere.
 *
 *   node bench/records.ts [--rows 300000] [--runs 5]
 *
 * Starts a server of its own; every run is a process of its own, and the contestants take turns.
 */
import { execFile } from "node:child_process";
import { readFile } from "node:fs/promises";
import { fileURLToPath } from "node:url";
import { parseArgs, promisify } from "node:util";
import { demoQuery, demoStatements } from "../src/cli/demo-rows.ts";

interface Counted {
  readonly rows: number;
  readonly bytes: number;
}
interface Measured extends Counted {
  readonly seconds: number;
  readonly cpuSeconds: number;
  /** Resident memory when everything is loaded and nothing is read; and at most. */
  readonly startBytes: number;
  readonly peakBytes: number;
}

type Read = (url: string) => Promise<Counted>;

// Imported where they run, so that a process weighs only what it uses.
const contestants: Readonly<Record<string, () => Promise<Read>>> = {
  async textbook() {
    const { Client } = await import("pg");
    const { default: QueryStream } = await import("pg-query-stream");
    return async (url) => {
      const client = new Client(url);
      await client.connect();
      let [rows, bytes] = [0, 0];
      for await (const row of client.query(new QueryStream(demoQuery))) {
        bytes += Buffer.from(`${JSON.stringify(row)}\n`).length;
        rows += 1;
      }
      await client.end();
      return { rows, bytes };
    };
  },
  rows: () => loadOurs(true),
  records: () => loadOurs(false),
};

async function loadOurs(apart: boolean): Promise<Read> {
  const { parse } = await import("valibot");
  const { postgres } = await import("../src/stages/sources/postgres.ts");
  const { serialize } = await import("../src/stages/formats/serialize.ts");
  const { readRecords } = await import("../src/stages/sources/postgres-wire/read-records.ts");
  return async (url) => {
    const config = parse(postgres.config, { url, query: demoQuery });
    const ctx = { signal: new AbortController().signal } as Parameters<typeof postgres.open>[1];
    const batches = apart
      ? serialize.open({ format: "ndjson" }, ctx, postgres.open(config, ctx, nothing()))
      : readRecords(config, "ndjson", 2 ** 20, ctx);
    let [rows, bytes] = [0, 0];
    for await (const batch of batches) {
      bytes += batch.bytes.length;
      rows += batch.framing ? 0 : batch.ends.length;
    }
    return { rows, bytes };
  };
}

async function* nothing(): AsyncGenerator<never> {}

/** Peak resident memory of this process alone; what `getrusage` tells may be the parent's. */
async function readPeakBytes(): Promise<number> {
  const status = await readFile("/proc/self/status", "utf8").catch(() => "");
  const kibibytes = /VmHWM:\s*(\d+)/.exec(status)?.[1] ?? process.resourceUsage().maxRSS;
  return Number(kibibytes) * 1024;
}

async function measure(name: string, url: string): Promise<Measured> {
  const read = await contestants[name]!();
  const startBytes = process.memoryUsage.rss();
  const before = process.cpuUsage();
  const started = performance.now();
  const counted = await read(url);
  const seconds = (performance.now() - started) / 1000;
  const { user, system } = process.cpuUsage(before);
  return {
    ...counted,
    seconds,
    cpuSeconds: (user + system) / 1e6,
    startBytes,
    peakBytes: await readPeakBytes(),
  };
}

async function measureApart(name: string, url: string): Promise<Measured> {
  const program = fileURLToPath(import.meta.url);
  const { stdout } = await promisify(execFile)(process.execPath, [
    program,
    "--run",
    name,
    "--url",
    url,
  ]);
  return JSON.parse(stdout) as Measured;
}

function median(values: readonly number[]): number {
  const sorted = values.toSorted((a, b) => a - b);
  const middle = sorted.length >> 1;
  return sorted.length % 2 ? sorted[middle]! : (sorted[middle - 1]! + sorted[middle]!) / 2;
}

async function compare(rows: number, runs: number): Promise<void> {
  const { startPostgres } = await import("../src/cli/demo-postgres.ts");
  const { openSession } = await import("../src/stages/sources/postgres-session.ts");
  const server = await startPostgres();
  try {
    const waits = { connectMillis: 10_000, answerMillis: 600_000 };
    const session = await openSession({ url: server.url, ...waits }, new AbortController().signal);
    for (const statement of demoStatements(rows)) await session.ask(statement);
    await session.close();
    const results = new Map<string, Measured[]>(Object.keys(contestants).map((name) => [name, []]));
    // The first round warms the server's memory and is not counted.
    for (let run = 0; run <= runs; run += 1) {
      for (const [name, measured] of results) {
        const result = await measureApart(name, server.url);
        if (result.rows !== rows) throw new Error(`${name} read ${result.rows} of ${rows} rows`);
        if (run > 0) measured.push(result);
      }
    }
    print(results, rows, runs);
  } finally {
    await server.stop();
  }
}

function print(
  results: ReadonlyMap<string, readonly Measured[]>,
  rows: number,
  runs: number,
): void {
  const textbook = median(results.get("textbook")!.map(({ seconds }) => seconds));
  const table = [...results].map(([name, measured]) => {
    const of = (key: keyof Measured) => median(measured.map((result) => result[key]));
    return {
      name,
      "rows/s": Math.round(rows / of("seconds")),
      "MB/s": Math.round(of("bytes") / of("seconds") / 1e6),
      "× textbook": Number((textbook / of("seconds")).toFixed(2)),
      "client CPU s": Number(of("cpuSeconds").toFixed(2)),
      "RSS before MB": Math.round(of("startBytes") / 1e6),
      "peak RSS MB": Math.round(of("peakBytes") / 1e6),
    };
  });
  console.log(`${rows} rows, medians of ${runs} runs each, in turns, Node ${process.version}`);
  console.table(table);
}

const { values } = parseArgs({
  options: {
    rows: { type: "string", default: "300000" },
    runs: { type: "string", default: "5" },
    run: { type: "string" },
    url: { type: "string", default: "" },
  },
});
if (values.run) console.log(JSON.stringify(await measure(values.run, values.url)));
else await compare(Number(values.rows), Number(values.runs));

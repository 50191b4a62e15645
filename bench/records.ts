/**
 * How fast rows of PostgreSQL become NDJSON, and at what cost to the client. The records go nowhere.
 *
 *   node bench/records.ts [--rows 1000000] [--runs 5] [--url postgres://…]
 *
 * Textbook is `pg-query-stream` as its README shows it, an object a row, `JSON.stringify`; tuned is the same in its best
 * batches; raw texts is its cursor with no parsing of values at all. Then our row path (JavaScript sees the rows), our wire
 * path (it does not), and PostgreSQL's COPY passed through. Every run is a process of its own, which counts from the moment
 * when everything is loaded; the contestants take turns.
 */
import { execFile } from "node:child_process";
import { fileURLToPath } from "node:url";
import { parseArgs, promisify } from "node:util";
import { peakRssBytes } from "../src/telemetry/peak-memory.ts";
import { medianOf, printTable, ratioOf } from "./contest.ts";
import type { Measured } from "./measure.ts";
import { isSource, readSource, sources } from "./record-sources.ts";
import { askServer, openServer, type BenchServer } from "./server.ts";
import { createTable } from "./tables.ts";

interface Read extends Measured {
  readonly rows: number;
  readonly bytes: number;
  /** Resident memory when everything is loaded and nothing is read. */
  readonly startBytes: number;
}

/** Reads the whole query in this process. */
async function readHere(name: string, url: string, query: string): Promise<Read> {
  if (!isSource(name))
    throw new Error(`--run ${name}: expected ${Object.keys(sources).join(", ")}`);
  const read = await readSource(name);
  const startBytes = process.memoryUsage.rss();
  const before = process.cpuUsage();
  const started = performance.now();
  const counted = await read(url, query);
  const seconds = (performance.now() - started) / 1000;
  const { user, system } = process.cpuUsage(before);
  return {
    ...counted,
    seconds,
    clientSeconds: (user + system) / 1e6,
    serverSeconds: 0,
    startBytes,
    peakRssBytes: peakRssBytes(),
    peakAnonBytes: 0,
  };
}

async function readApart(name: string, server: BenchServer, query: string): Promise<Read> {
  const args = [
    fileURLToPath(import.meta.url),
    "--run",
    name,
    "--url",
    server.url,
    "--query",
    query,
  ];
  const before = await server.cpuSeconds();
  const { stdout } = await promisify(execFile)(process.execPath, args);
  const serverSeconds = (await server.cpuSeconds()) - before;
  return { ...(JSON.parse(stdout) as Read), serverSeconds };
}

async function compare(rows: number, runs: number, url: string | undefined): Promise<void> {
  const server = await openServer(url);
  try {
    if (!url) await createTable(server.url, { name: "results", rows });
    const query = `select * from results limit ${rows}`;
    const expected = Number(await askServer(server.url, `select count(*) from (${query}) q`));
    const results = new Map<string, Read[]>(Object.keys(sources).map((name) => [name, []]));
    // The first round warms the server's memory and is not counted.
    for (let run = 0; run <= runs; run += 1) {
      for (const [name, reads] of results) {
        const read = await readApart(name, server, query);
        if (read.rows !== expected)
          throw new Error(`${name} read ${read.rows} of ${expected} rows`);
        if (run > 0) reads.push(read);
      }
    }
    const note = `medians of ${runs} runs in turns, Node ${process.version}`;
    process.stdout.write(`${expected} rows of results; ${note}.\n\n`);
    print(results, expected);
  } finally {
    await server.stop();
  }
}

const rowsOf = ({ rows, seconds }: Read) => rows / seconds;
const rowsOfCpu = ({ rows, clientSeconds }: Read) => rows / clientSeconds;

function print(results: ReadonlyMap<string, readonly Read[]>, rows: number): void {
  const textbook = results.get("textbook")!;
  const tuned = results.get("tuned")!;
  const figure = (reads: readonly Read[], of: (read: Read) => number) =>
    medianOf(reads, (read) => of(read as Read));
  const ratio = (reads: readonly Read[], to: readonly Read[], of: (read: Read) => number) =>
    `${ratioOf(reads, to, (read) => of(read as Read)).toFixed(1)} ×`;
  printTable([
    [
      "",
      "krow/s",
      "MB/s",
      "× textbook",
      "client CPU s",
      "rows a CPU second × textbook",
      "× tuned",
      "server CPU s",
      "RSS before → peak MiB",
    ],
    ...[...results].map(([name, reads]) => [
      sources[name as keyof typeof sources].name,
      figure(reads, (read) => rowsOf(read) / 1e3).toFixed(0),
      figure(reads, ({ bytes, seconds }) => bytes / seconds / 1e6).toFixed(0),
      ratio(reads, textbook, rowsOf),
      figure(reads, ({ clientSeconds }) => clientSeconds).toFixed(2),
      ratio(reads, textbook, rowsOfCpu),
      ratio(reads, tuned, rowsOfCpu),
      figure(reads, ({ serverSeconds }) => serverSeconds).toFixed(2),
      [({ startBytes }: Read) => startBytes, ({ peakRssBytes }: Read) => peakRssBytes]
        .map((of) => (figure(reads, of) / 2 ** 20).toFixed(0))
        .join(" → "),
    ]),
  ]);
  const wire = results.get("wire")!;
  printTable([
    ["goal", "wanted", "reached"],
    ["wire path against the textbook, rows/s", "≥ 7 ×", ratio(wire, textbook, rowsOf)],
    ["… rows a second of client CPU", "≥ 15 ×", ratio(wire, textbook, rowsOfCpu)],
  ]);
  process.stdout.write(`${rows} rows in every run.\n`);
}

const { values } = parseArgs({
  options: {
    rows: { type: "string", default: "1000000" },
    runs: { type: "string", default: "5" },
    url: { type: "string" },
    run: { type: "string" },
    query: { type: "string", default: "select * from results" },
  },
});
if (values.run) {
  const read = await readHere(values.run, values.url ?? "", values.query);
  process.stdout.write(`${JSON.stringify(read)}\n`);
} else await compare(Number(values.rows), Number(values.runs), values.url);

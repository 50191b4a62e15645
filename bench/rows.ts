/**
 * What a row costs where JavaScript sees it: source, a function that touches one field, and NDJSON, into nothing;
 * against the textbook (`pg-query-stream`, an object a row, `JSON.stringify`). `objects` is the making of objects alone.
 *
 *   node bench/rows.ts [--rows 300000] [--runs 5]
 *
 * Starts a server of its own; every run is a process of its own with the command's flags, and all take turns.
 */
import { execFile } from "node:child_process";
import { once } from "node:events";
import { createWriteStream } from "node:fs";
import { mkdtemp, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { DatabaseSync } from "node:sqlite";
import { fileURLToPath } from "node:url";
import { parseArgs, promisify } from "node:util";
import { setFlagsFromString } from "node:v8";
import { Client } from "pg";
import QueryStream from "pg-query-stream";
import * as v from "valibot";
import { startPostgres } from "../src/cli/demo-postgres.ts";
import { demoQuery, demoStatements } from "../src/cli/demo-rows.ts";
import { serialize } from "../src/stages/formats/serialize.ts";
import { createLease } from "../src/stages/lease.ts";
import type { Row, RowBatch } from "../src/stages/nouns.ts";
import { csv } from "../src/stages/sources/csv.ts";
import { ndjson } from "../src/stages/sources/ndjson.ts";
import { postgres } from "../src/stages/sources/postgres.ts";
import { sqlite } from "../src/stages/sources/sqlite.ts";
import { documentMaker, setMember } from "../src/stages/transforms/documents.ts";
import { applyRowWork } from "../src/stages/transforms/row-work.ts";
import { leanEnv, leanFlags } from "./lean.ts";

interface Place {
  readonly url: string;
  readonly folder: string;
}
interface Measured {
  readonly rows: number;
  readonly seconds: number;
  readonly cpuSeconds: number;
  readonly peakBytes: number;
}

const { signal } = new AbortController();
const ctx = { signal, log: console, lease: createLease(2 ** 20) } as unknown as Parameters<
  typeof postgres.open
>[1];
const format = (name: "ndjson" | "csv") => ({ format: name });

async function* nothing(): AsyncGenerator<never> {}

const touch = (row: Row): Row => {
  row["code"] = `LOINC ${String(row["code"])}`;
  return row;
};

const readPostgres = ({ url }: Place) =>
  postgres.open(v.parse(postgres.config, { url, query: demoQuery }), ctx, nothing());

const sources: Readonly<Record<string, (place: Place) => AsyncIterable<RowBatch>>> = {
  postgres: readPostgres,
  sqlite: ({ folder }) => {
    const path = join(folder, "rows.sqlite");
    const config = v.parse(sqlite.config, { path, query: "select * from observation" });
    return sqlite.open(config, ctx, nothing());
  },
  ndjson: ({ folder }) =>
    ndjson.open(v.parse(ndjson.config, { path: join(folder, "rows.ndjson") }), ctx, nothing()),
  csv: ({ folder }) =>
    csv.open(v.parse(csv.config, { path: join(folder, "rows.csv") }), ctx, nothing()),
};

async function countRecords(rows: AsyncIterable<RowBatch>): Promise<number> {
  let count = 0;
  for await (const batch of serialize.open(format("ndjson"), ctx, rows))
    if (!batch.framing) count += batch.ends.length;
  return count;
}

async function readTextbook({ url }: Place, work: (row: Row) => Row): Promise<number> {
  const client = new Client(url);
  await client.connect();
  let [rows, bytes] = [0, 0];
  for await (const row of client.query(new QueryStream(demoQuery))) {
    bytes += Buffer.from(`${JSON.stringify(work(row as Row))}\n`).length;
    rows += 1;
  }
  await client.end();
  if (bytes === 0) throw new Error("the textbook read nothing");
  return rows;
}

/** Objects of forty members, twenty times as many rows as usual. */
function makeObjects(toDocument: (tuple: readonly string[]) => Row): Promise<number> {
  const tuples = Array.from({ length: 100 }, (_, row) =>
    Array.from(wideColumns, ({ name }) => `${name} ${row}`),
  );
  let [rows, members] = [0, 0];
  for (; rows < 300_000; rows += tuples.length)
    for (const tuple of tuples) members += Object.keys(toDocument(tuple)).length;
  if (members !== rows * wideColumns.length) throw new Error("some members are missing");
  return Promise.resolve(rows);
}
const wideColumns = Array.from({ length: 40 }, (_, index) => ({
  name: `column ${index}`,
  type: "text",
  json: "string" as const,
}));
const wideBatch: RowBatch = { shape: "tuples", columns: wideColumns, rows: [], bytes: 0 };

function addMembers(tuple: readonly string[]): Row {
  const row: Row = {};
  for (const [index, { name }] of wideColumns.entries()) setMember(row, name, tuple[index]);
  return row;
}

const contestants: Readonly<Record<string, (place: Place) => Promise<number>>> = {
  textbook: (place) => readTextbook(place, (row) => row),
  "textbook, map": (place) => readTextbook(place, touch),
  ...Object.fromEntries(
    Object.entries(sources).flatMap(([name, open]) => [
      [name, (place: Place) => countRecords(open(place))],
      [
        `${name}, map`,
        (place: Place) => countRecords(applyRowWork([touch], "map", open(place), signal)),
      ],
    ]),
  ),
  "objects of 40, member by member": () => makeObjects(addMembers),
  "objects of 40, at once": () => makeObjects(documentMaker(wideBatch)),
};

/** Peak resident memory of this process alone; what `getrusage` tells may be the parent's. */
async function readPeakBytes(): Promise<number> {
  const status = await readFile("/proc/self/status", "utf8").catch(() => "");
  const kibibytes = /VmHWM:\s*(\d+)/.exec(status)?.[1] ?? process.resourceUsage().maxRSS;
  return Number(kibibytes) * 1024;
}

async function measure(name: string, place: Place): Promise<Measured> {
  // As the command does where JavaScript works on rows.
  setFlagsFromString("--opt");
  const before = process.cpuUsage();
  const started = performance.now();
  const rows = await contestants[name]!(place);
  const seconds = (performance.now() - started) / 1000;
  const { user, system } = process.cpuUsage(before);
  return { rows, seconds, cpuSeconds: (user + system) / 1e6, peakBytes: await readPeakBytes() };
}

async function measureApart(name: string, { url, folder }: Place): Promise<Measured> {
  const program = [fileURLToPath(import.meta.url), "--run", name, "--url", url];
  const args = [...leanFlags, ...program, "--folder", folder];
  const env = { ...process.env, ...leanEnv };
  const { stdout } = await promisify(execFile)(process.execPath, args, { env });
  return JSON.parse(stdout) as Measured;
}

async function prepare(place: Place, rows: number): Promise<void> {
  const client = new Client(place.url);
  await client.connect();
  for (const statement of demoStatements(rows)) await client.query(statement);
  await client.end();
  for (const name of ["ndjson", "csv"] as const) {
    const file = createWriteStream(join(place.folder, `rows.${name}`));
    for await (const { bytes } of serialize.open(format(name), ctx, readPostgres(place)))
      if (!file.write(bytes.slice())) await once(file, "drain");
    await once(file.end(), "close");
  }
  await fillSqlite(place);
}

async function fillSqlite(place: Place): Promise<void> {
  const database = new DatabaseSync(join(place.folder, "rows.sqlite"));
  let insert: ReturnType<DatabaseSync["prepare"]> | undefined;
  for await (const { columns, rows } of readPostgres(place)) {
    if (!insert) {
      database.exec(`create table observation (${columns.map(({ name }) => name).join(", ")})`);
      const places = columns.map(() => "?").join(", ");
      insert = database.prepare(`insert into observation values (${places})`);
      database.exec("begin");
    }
    for (const row of rows) insert.run(...(row as (string | null)[]));
  }
  database.exec("commit");
  database.close();
}

const median = (values: readonly number[]): number =>
  values.toSorted((a, b) => a - b)[values.length >> 1]!;

function print(results: ReadonlyMap<string, readonly Measured[]>): void {
  const costOf = (name: string) =>
    median(results.get(name)!.map(({ cpuSeconds, rows }) => (cpuSeconds / rows) * 1e6));
  const lines = [...results].map(([name, runs]) => {
    const textbook = costOf(name.endsWith("map") ? "textbook, map" : "textbook");
    const rate = median(runs.map(({ rows, seconds }) => rows / seconds));
    const peak = median(runs.map(({ peakBytes }) => peakBytes)) / 2 ** 20;
    const ratio = name.startsWith("objects") ? "" : `${(textbook / costOf(name)).toFixed(2)} ×`;
    return [name, Math.round(rate), costOf(name).toFixed(2), ratio, peak.toFixed(0)];
  });
  const head = ["", "rows/s", "CPU s per million rows", "CPU, textbook ÷ this", "peak RSS MiB"];
  for (const cells of [head, head.map(() => "---"), ...lines])
    console.log(`| ${cells.join(" | ")} |`);
}

async function compare(rows: number, runs: number): Promise<void> {
  const folder = await mkdtemp(join(tmpdir(), "spillway-rows-"));
  const server = await startPostgres();
  try {
    const place = { url: server.url, folder };
    await prepare(place, rows);
    const names = Object.keys(contestants);
    const results = new Map<string, Measured[]>(names.map((name) => [name, []]));
    // The first round warms caches and is not counted.
    for (let run = 0; run <= runs; run += 1) {
      for (const [name, measured] of results) {
        const result = await measureApart(name, place);
        if (run > 0) measured.push(result);
      }
    }
    print(results);
  } finally {
    await server.stop();
    await rm(folder, { recursive: true, force: true });
  }
}

const { values } = parseArgs({
  options: {
    rows: { type: "string", default: "300000" },
    runs: { type: "string", default: "5" },
    run: { type: "string" },
    url: { type: "string", default: "" },
    folder: { type: "string", default: "" },
  },
});
if (values.run) console.log(JSON.stringify(await measure(values.run, values)));
else await compare(Number(values.rows), Number(values.runs));

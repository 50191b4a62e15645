/**
 * The nightly job: objects whose results lead to names in small tables, written back under an audit trigger. How much is it
 * worth to look up once and to write in groups, here and at a distance, and does a row cost the same as the run grows?
 *
 *   npm run -s build && node bench/nightly.ts [--objects 30000] [--far 2000] [--items 12] [--runs 1] [--sizes 10000,100000,1000000]
 *
 * `naive` asks for each object's items, and for each item's test, term, unit and the unit's term: 49 questions an object,
 * half of them to a table of 514 rows. All ways must leave the same table, row for row, and the same audit. `--far` is the number of
 * objects behind a relay that delays each direction by 0.25 ms, for all of them: a network within a building.
 */
import { mkdtemp, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { parseArgs } from "node:util";
import { Client } from "pg";
import type { RunSummary } from "../src/pipeline/summary.ts";
import { medianOf, printTable, ratioOf } from "./contest.ts";
import { measure, median, type Measured } from "./measure.ts";
import { openRelay } from "./nightly-relay.ts";
import { checkTables, createTables, digestTables, lookups, writeJob } from "./nightly-tables.ts";
import { openServer, type BenchServer } from "./server.ts";

const { values } = parseArgs({
  options: {
    objects: { type: "string", default: "30000" },
    far: { type: "string", default: "2000" },
    items: { type: "string", default: "12" },
    runs: { type: "string", default: "1" },
    sizes: { type: "string", default: "10000,100000,1000000" },
  },
});
const items = Number(values.items);

/** A commit is one on a server whose data somebody would miss. */
const durable = { fsync: "on", synchronous_commit: "on", full_page_writes: "on" };
const delayMillis = 0.25;

const folder = await mkdtemp(join(tmpdir(), "spillway-nightly-"));
const server = await openServer(undefined, { ...durable, autovacuum: "on" });
const relay = await openRelay(server.url, delayMillis);
try {
  const [objects, far] = [Number(values.objects), Number(values.far)];
  await race("loopback", server.url, objects);
  await race(`${delayMillis} ms each way`, relay.url, far);
  await race(`${delayMillis} ms each way`, relay.url, objects, false);
  await grow(server);
} finally {
  await relay.stop();
  await server.stop();
  await rm(folder, { recursive: true, force: true });
}

async function race(where: string, url: string, objects: number, withNaive = true): Promise<void> {
  const job = (name: keyof typeof lookups) =>
    writeJob({ folder, name, url, lookups: lookups[name] });
  const scripts = {
    ...(withNaive && {
      "naive: a question for each name, a transaction for each object": `node ${import.meta.dirname}/nightly-naive.ts ${url}`,
    }),
    "spillway: a lookup for each kind of question": await job("each"),
    "spillway: one lookup, the small tables joined in its query": await job("joined"),
  };
  const rounds = await takeTurns(Object.entries(scripts), objects);
  const [first] = [...rounds.values()];
  const of = (measured: readonly Measured[], figure: (one: Measured) => number) =>
    medianOf(measured, figure).toFixed(1);
  const against = (measured: readonly Measured[], figure?: (one: Measured) => number) =>
    !withNaive || measured === first ? "-" : `${ratioOf(first!, measured, figure).toFixed(0)} ×`;
  const cpu = ({ clientSeconds, serverSeconds }: Measured) => clientSeconds + serverSeconds;
  const question = `${(await timeQuestion(url)).toFixed(2)} ms a question`;
  printTable([
    [
      `${objects} objects, ${where}, ${question}`,
      "wall s",
      "client CPU s",
      "server CPU s",
      "peak MB",
      "wall, times less",
      "CPU, times less",
    ],
    ...[...rounds].map(([name, measured]) => [
      name,
      of(measured, ({ seconds }) => seconds),
      of(measured, ({ clientSeconds }) => clientSeconds),
      of(measured, ({ serverSeconds }) => serverSeconds),
      of(measured, ({ peakRssBytes }) => peakRssBytes / 1e6),
      against(measured),
      against(measured, cpu),
    ]),
  ]);
}

/** Every way once a round, each on new tables, all of which must be the same afterwards. */
async function takeTurns(scripts: readonly (readonly [string, string])[], objects: number) {
  const rounds = new Map<string, Measured[]>(scripts.map(([name]) => [name, []]));
  const left = new Set<string>();
  for (let run = 0; run < Number(values.runs); run += 1) {
    for (const [name, script] of scripts) {
      await createTables(server.url, objects, items);
      rounds.get(name)!.push(await measure(script, { server }));
      await checkTables(server.url, objects);
      left.add(await digestTables(server.url));
    }
  }
  if (left.size !== 1) throw new Error("the ways leave different tables");
  return rounds;
}

/** The least that a question costs there. */
async function timeQuestion(url: string): Promise<number> {
  const client = new Client({ connectionString: url });
  await client.connect();
  const millis: number[] = [];
  for (let i = 0; i < 300; i += 1) {
    const started = performance.now();
    await client.query({ text: "select display from term where code = $1", values: ["c1"] });
    millis.push(performance.now() - started);
  }
  await client.end();
  return median(millis);
}

/** The run's own time at growing sizes, less that of a run of one row. */
async function grow({ url }: BenchServer): Promise<void> {
  const script = await writeJob({ folder, name: "grow", url, lookups: lookups.each });
  const sizes = [1, ...values.sizes.split(",").map(Number)];
  const seconds: number[] = [];
  for (const size of sizes) {
    await createTables(url, size, 1);
    await measure(script, { server });
    await checkTables(url, size);
    const summary = JSON.parse(await readFile(`${folder}/summary.json`, "utf8")) as RunSummary;
    seconds.push(summary.seconds);
  }
  const [start = 0] = seconds;
  const exponent = (at: number) =>
    Math.log((seconds[at]! - start) / (seconds[at - 1]! - start)) /
    Math.log(sizes[at]! / sizes[at - 1]!);
  printTable([
    ["rows written back", "seconds", "µs a row", "grows with rows to the power of"],
    ...sizes.map((size, at) => [
      String(size),
      seconds[at]!.toFixed(2),
      at === 0 ? "-" : ((1e6 * (seconds[at]! - start)) / size).toFixed(1),
      at < 2 ? "-" : exponent(at).toFixed(2),
    ]),
  ]);
}

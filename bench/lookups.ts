/**
 * What a lookup costs an export: looked up in this process, or joined by the server that has both tables.
 *
 *   npm run -s build && node bench/lookups.ts [--rows 300000] [--runs 3]
 *
 * `missing: fail` keeps a lookup in this process; no row misses its counterpart, so that both ways give the same bytes,
 * which is checked.
 */
import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { parseArgs } from "node:util";
import type { RunSummary } from "../src/pipeline/summary.ts";
import { medianOf, printTable, ratioOf } from "./contest.ts";
import { measure, type Measured } from "./measure.ts";
import { askServer, openServer } from "./server.ts";

const { values } = parseArgs({
  options: {
    rows: { type: "string", default: "300000" },
    runs: { type: "string", default: "3" },
  },
});
const bin = join(import.meta.dirname, "..", "bin", "spillway.js");

const g = (count: number | string) => `generate_series(1, ${count}) g`;
const tables = [
  `create table unit as select g as unit_id, 'unit ' || g as unit from ${g(40)}`,
  `create table term as select 'c' || g as code, 'Term ' || g as display from ${g(514)}`,
  `create table patient as select g as patient, md5(g::text) as name, date '1930-01-01' + g % 30000 as born from ${g(200_000)}`,
  `create table result as select g as id, 'c' || 1 + g::int8 * 7919 % 514 as code, 1 + g % 40 as unit_id,
     1 + g::int8 * 104729 % 200000 as patient, g / 8.0 as value, md5(g::text) as note from ${g(values.rows)}`,
  "alter table unit add primary key (unit_id)",
  "alter table term add primary key (code)",
  "alter table patient add primary key (patient)",
  "alter table result add primary key (id)",
  "vacuum analyze",
];

const all = {
  unit: { query: "select unit_id, unit from unit", on: "unit_id" },
  term: { query: "select code, display from term", on: "code" },
  patient: { query: "select patient, name, born from patient", on: "patient" },
};
const cases: Readonly<Record<string, readonly (keyof typeof all)[]>> = {
  "no lookup": [],
  "514 rows": ["term"],
  "40 and 514 rows": ["unit", "term"],
  "200,000 rows": ["patient"],
  "all three": ["unit", "term", "patient"],
};

const folder = await mkdtemp(join(tmpdir(), "spillway-lookups-"));
const server = await openServer();
try {
  for (const sql of tables) await askServer(server.url, sql);
  printTable([
    ["looked up in", "way", "wall s", "client CPU s", "server CPU s", "peak MB", "CPU, times less"],
    ...(await takeTurns()),
  ]);
} finally {
  await server.stop();
  await rm(folder, { recursive: true, force: true });
}

async function takeTurns(): Promise<string[][]> {
  const lines: string[][] = [];
  for (const [name, lookups] of Object.entries(cases)) {
    const here = await repeat(lookups, "fail");
    const there = await repeat(lookups, "keep");
    if (here.bytes !== there.bytes) throw new Error(`${name}: the ways give different bytes`);
    lines.push(lineOf(name, lookups.length === 0 ? "-" : "in this process", here.measured));
    if (lookups.length === 0) continue;
    const ratio = ratioOf(here.measured, there.measured, cpuOf).toFixed(1);
    lines.push([...lineOf(name, "joined", there.measured).slice(0, -1), `${ratio} ×`]);
  }
  return lines;
}

function cpuOf({ clientSeconds, serverSeconds }: Measured): number {
  return clientSeconds + serverSeconds;
}

function lineOf(name: string, way: string, measured: readonly Measured[]): string[] {
  const of = (figure: (one: Measured) => number) => medianOf(measured, figure).toFixed(1);
  return [
    name,
    way,
    of(({ seconds }) => seconds),
    of(({ clientSeconds }) => clientSeconds),
    of(({ serverSeconds }) => serverSeconds),
    of(({ peakRssBytes }) => peakRssBytes / 1e6),
    "-",
  ];
}

async function repeat(lookups: readonly (keyof typeof all)[], missing: "keep" | "fail") {
  const script = await writeJob(lookups, missing);
  const measured: Measured[] = [];
  for (let run = 0; run < Number(values.runs); run += 1)
    measured.push(await measure(script, { server }));
  const summary = JSON.parse(await readFile(`${folder}/summary.json`, "utf8")) as RunSummary;
  const digests = await readFile(join(new URL(summary.destination).pathname, "SHA256SUMS"), "utf8");
  return { measured, bytes: digests };
}

/** Writes a pipeline and gives the script that runs it. */
async function writeJob(lookups: readonly (keyof typeof all)[], missing: string): Promise<string> {
  const { url } = server;
  const stages = [
    { postgres: { url, query: "select * from result order by id" } },
    ...lookups.map((name) => ({ lookup: { url, missing, cache: "8MiB", ...all[name] } })),
    { serialize: "ndjson" },
    { chunk: "1MiB" },
    { compress: "none" },
    { encrypt: "none" },
    { spool: { dir: `${folder}/spool`, maxBytes: "1GiB" } },
    { upload: { to: `${folder}/out` } },
  ];
  const path = join(folder, "lookups.yaml");
  await writeFile(path, JSON.stringify({ name: "lookups", memory: "128MiB", stages }));
  return `rm -rf ${folder}/spool ${folder}/out && node ${bin} run ${path} --quiet --json > ${folder}/summary.json`;
}

/**
 * The nightly job: objects with nested lookups, written back under an audit trigger. How much is it worth to look up once
 * and to write in groups, and does the cost of a group stay the same as the run grows?
 *
 *   npm run -s build && node bench/nightly.ts [--objects 30000] [--items 10] [--runs 1] [--sizes 10000,100000,1000000]
 *
 * `naive` asks for each object's items, for each item's term and unit, and writes item after item, each its own
 * transaction. Both ways must leave the same table, row for row, and the same audit.
 */
import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { parseArgs } from "node:util";
import { Client } from "pg";
import type { RunSummary } from "../src/pipeline/summary.ts";
import { medianOf, printTable, ratioOf } from "./contest.ts";
import { measure, type Measured } from "./measure.ts";
import { askServer, openServer, type BenchServer } from "./server.ts";

const { values } = parseArgs({
  options: {
    objects: { type: "string", default: "30000" },
    items: { type: "string", default: "10" },
    runs: { type: "string", default: "1" },
    sizes: { type: "string", default: "10000,100000,1000000" },
    naive: { type: "string" },
  },
});
const items = Number(values.items);
const bin = join(import.meta.dirname, "..", "bin", "spillway.js");

/** What both ways do with an item once they know its term and its unit. */
const describeItem = `export default function describeItem(row) {
  const amount = Number(row.value) * Number(row.factor);
  const { display, factor, unit, ...item } = row;
  return { ...item, described: display + ' in ' + unit, amount };
}
`;

// The naive job is this file in a process of its own, so that both are measured alike.
if (values.naive) await runNaive(values.naive);
else await compare();

async function compare(): Promise<void> {
  const folder = await mkdtemp(join(tmpdir(), "spillway-nightly-"));
  const server = await openServer(undefined, { autovacuum: "on" });
  try {
    await writeJob(folder, server.url);
    await race(folder, server);
    await grow(folder, server);
  } finally {
    await server.stop();
    await rm(folder, { recursive: true, force: true });
  }
}

function spillwayScript(folder: string): string {
  return `rm -rf ${folder}/spool && node ${bin} run ${folder}/job.yaml --json > ${folder}/summary.json`;
}

async function race(folder: string, server: BenchServer): Promise<void> {
  const objects = Number(values.objects);
  const rounds: Record<"naive" | "spillway", Measured[]> = { naive: [], spillway: [] };
  const scripts = {
    naive: `node ${import.meta.filename} --naive ${server.url}`,
    spillway: spillwayScript(folder),
  };
  const left: string[] = [];
  for (let run = 0; run < Number(values.runs); run += 1) {
    for (const way of ["naive", "spillway"] as const) {
      await createTables(server.url, objects * items);
      rounds[way].push(await measure(scripts[way], { server }));
      left.push(await digestTables(server.url));
    }
  }
  if (new Set(left).size !== 1) throw new Error("the two ways leave different tables");
  const line = (name: string, measured: readonly Measured[]) => [
    name,
    medianOf(measured, ({ seconds }) => seconds).toFixed(1),
    medianOf(measured, ({ clientSeconds }) => clientSeconds).toFixed(1),
    medianOf(measured, ({ serverSeconds }) => serverSeconds).toFixed(1),
  ];
  const head = `${objects} objects of ${items} items`;
  printTable([
    [head, "wall s", "client CPU s", "server CPU s"],
    line("naive: a question and a transaction for each", rounds.naive),
    line("spillway: two lookups, a transaction for each page", rounds.spillway),
  ]);
  const { naive, spillway } = rounds;
  printTable([
    ["ratio", "wanted", "reached"],
    ["wall", "≥ 100 ×", `${ratioOf(naive, spillway).toFixed(0)} ×`],
  ]);
}

/** The time of the whole command at growing sizes, less that of a run of one row. */
async function grow(folder: string, server: BenchServer): Promise<void> {
  const sizes = [1, ...values.sizes.split(",").map(Number)];
  const seconds: number[] = [];
  for (const size of sizes) {
    await createTables(server.url, size);
    await measure(spillwayScript(folder), { server });
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

async function writeJob(folder: string, url: string): Promise<void> {
  await writeFile(join(folder, "describe.mjs"), describeItem);
  const job = {
    name: "nightly",
    memory: "128MiB",
    stages: [
      { postgres: { url, query: "select id, object, code, value from item order by id" } },
      { lookup: { url, query: "select code, display, unit from term", on: "code" } },
      { lookup: { url, query: "select name, factor from unit", on: { unit: "name" } } },
      { map: "./describe.mjs" },
      { serialize: "ndjson" },
      { chunk: "1MiB" },
      { compress: "none" },
      { encrypt: "none" },
      { spool: { dir: join(folder, "spool"), maxBytes: "1GiB" } },
      { upload: { to: url, table: "item", key: ["id"] } },
    ],
  };
  await writeFile(join(folder, "job.yaml"), JSON.stringify(job));
}

async function createTables(url: string, count: number): Promise<void> {
  for (const sql of [
    "drop table if exists item, term, unit, audit, spillway_objects cascade",
    "create table unit as select 'u' || g as name, g / 8.0 as factor from generate_series(1, 40) g",
    "create table term as select 'c' || g as code, 'Term ' || g as display, 'u' || 1 + g % 40 as unit from generate_series(1, 514) g",
    "alter table unit add primary key (name)",
    "alter table term add primary key (code)",
    `create table item as select g as id, g / ${items} as object, 'c' || 1 + g % 514 as code, g % 1000 / 4.0 as value,
       null::text as described, null::float8 as amount from generate_series(1, ${count}) g`,
    "alter table item add primary key (id)",
    "create index on item (object)",
    "create table audit (id bigint generated always as identity, item int, was jsonb, became jsonb)",
    `create or replace function note() returns trigger language plpgsql as $$ begin
       insert into audit (item, was, became) values (new.id, to_jsonb(old), to_jsonb(new)); return new; end $$`,
    "create trigger note after update on item for each row execute function note()",
    "vacuum analyze item",
  ])
    await askServer(url, sql);
}

async function digestTables(url: string): Promise<string> {
  const rows = "select md5(string_agg(i::text, ',' order by id)) from item i";
  const audit = "select md5(string_agg(concat(item, was, became), ',' order by item)) from audit";
  return `${String(await askServer(url, rows))} ${String(await askServer(url, audit))}`;
}

async function runNaive(url: string): Promise<void> {
  const source = `data:text/javascript,${encodeURIComponent(describeItem)}`;
  type Item = Record<string, unknown>;
  const { default: describe } = (await import(source)) as { default: (row: Item) => Item };
  const client = new Client({ connectionString: url });
  await client.connect();
  const ask = async (text: string, ...params: unknown[]) =>
    (await client.query<Item>({ text, values: params })).rows;
  for (const { object } of await ask("select distinct object from item order by object")) {
    for (const item of await ask(
      "select id, object, code, value from item where object = $1",
      object,
    )) {
      const [term] = await ask("select display, unit from term where code = $1", item["code"]);
      const [unit] = await ask("select factor from unit where name = $1", term!["unit"]);
      const { described, amount } = describe({ ...item, ...term, ...unit });
      await ask(
        "update item set described = $2, amount = $3 where id = $1",
        item["id"],
        described,
        amount,
      );
    }
  }
  await client.end();
}

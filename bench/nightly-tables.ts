/** What the nightly job reads and writes, and what it is as a pipeline. */
import { writeFile } from "node:fs/promises";
import { join } from "node:path";
import { askServer } from "./server.ts";

const bin = join(import.meta.dirname, "..", "bin", "spillway.js");

/** Each of an object's results and what its names lead to, as one row of the object: both ways do it with this. */
export const summarize = `export default function summarize({ id, patient }, results) {
  const parts = results.map((one) => one.display + ' ' + one.value + ' ' + one.unit_display);
  const total = results.reduce((sum, one) => sum + Number(one.value) * Number(one.factor), 0);
  return { id, patient, summary: parts.join('; '), total };
}
`;

/** What a user writes to make one row of an object's rows, which come one after another. */
const gather = `import { flushable, none } from "${import.meta.resolve("stream-chain/defs.js")}";
import summarize from "./summarize.mjs";
let results = [];
export default flushable((row) => {
  const [first] = results;
  const isNext = first && (row === none || row.id !== first.id);
  const object = isNext ? summarize(first, results) : null;
  if (isNext) results = [];
  if (row !== none) results.push(row);
  return object;
});
`;

type Lookup = Readonly<Record<"query" | "on", unknown>>;

/** Where a result's names come from: a lookup for each question of the naive job, or the small tables joined in one. */
export const lookups: Readonly<Record<"each" | "joined", readonly Lookup[]>> = {
  each: [
    { query: "select code, term, unit from test", on: { test: "code" } },
    { query: "select code, display from term", on: { term: "code" } },
    { query: "select name, factor, term as unit_term from unit", on: { unit: "name" } },
    { query: "select code, display as unit_display from term", on: { unit_term: "code" } },
  ],
  joined: [
    {
      query: `select test.code, named.display, unit.factor, measured.display as unit_display
        from test join term named on named.code = test.term
        join unit on unit.name = test.unit join term measured on measured.code = unit.term`,
      on: { test: "code" },
    },
  ],
};

const source = `select o.id, o.patient, i.test, i.value from object o join item i on i.object = o.id
  order by i.object, i.position`;

export interface Job {
  readonly folder: string;
  readonly name: string;
  readonly url: string;
  readonly lookups: readonly Lookup[];
}

/** Writes a pipeline and its modules, and gives the script that runs it. */
export async function writeJob({ folder, name, url, lookups: all }: Job): Promise<string> {
  await writeFile(join(folder, "summarize.mjs"), summarize);
  await writeFile(join(folder, "gather.mjs"), gather);
  const dir = join(folder, "spool");
  const stages = [
    { postgres: { url, query: source } },
    ...all.map((lookup) => ({ lookup: { url, ...lookup } })),
    { map: "./gather.mjs" },
    { serialize: "ndjson" },
    { chunk: "1MiB" },
    { compress: "none" },
    { encrypt: "none" },
    { spool: { dir, maxBytes: "1GiB" } },
    { upload: { to: url, table: "object", key: ["id"] } },
  ];
  const path = join(folder, `${name}.yaml`);
  await writeFile(path, JSON.stringify({ name, memory: "128MiB", stages }));
  return `rm -rf ${dir} && node ${bin} run ${path} --quiet --json > ${folder}/summary.json`;
}

const g = (from: number, to: number) => `generate_series(${from}, ${to}) g`;

/** All tables anew, settled on the disk: `objects` of `items` results each, 300 tests, 40 units, 514 terms, and the audit. */
export async function createTables(url: string, objects: number, items: number): Promise<void> {
  for (const sql of [
    "drop table if exists object, item, test, unit, term, audit, spillway_objects cascade",
    `create table term as select 'c' || g as code, 'Term ' || g as display from ${g(1, 514)}`,
    `create table unit as select 'u' || g as name, g / 8.0 as factor, 'c' || 300 + g as term from ${g(1, 40)}`,
    `create table test as select 't' || g as code, 'c' || 1 + g * 7 % 514 as term, 'u' || 1 + g % 40 as unit from ${g(1, 300)}`,
    `create table object as select g as id, 'p' || g::bigint * 7919 % 100003 as patient, null::text as summary, null::float8 as total from ${g(1, objects)}`,
    `create table item as select o.id as object, p as position, 't' || 1 + (o.id::bigint * 31 + p * 17) % 300 as test,
       (o.id::bigint * 13 + p * 29) % 1000 / 4.0 as value from object o, generate_series(1, ${items}) p order by 1, 2`,
    "alter table term add primary key (code)",
    "alter table unit add primary key (name)",
    "alter table test add primary key (code)",
    "alter table object add primary key (id), alter patient set not null",
    "alter table item add primary key (object, position)",
    "create table audit (id bigint generated always as identity, object int, was jsonb, became jsonb)",
    `create or replace function note() returns trigger language plpgsql as $$ begin
       insert into audit (object, was, became) values (new.id, to_jsonb(old), to_jsonb(new)); return new; end $$`,
    "create trigger note after update on object for each row execute function note()",
    "vacuum analyze object",
    "vacuum analyze item",
    "analyze",
    "checkpoint",
  ])
    await askServer(url, sql);
}

/** @throws Error when not every object was written, or not once */
export async function checkTables(url: string, objects: number): Promise<void> {
  const counts = await askServer(
    url,
    "select count(total) || ' ' || (select count(distinct object) || ' ' || count(*) from audit) from object",
  );
  if (counts !== `${objects} ${objects} ${objects}`)
    throw new Error(`written, audited, audits: ${String(counts)}; expected ${objects} each`);
}

/** A digest of every row of the written table and of its audit, in order. */
export async function digestTables(url: string): Promise<string> {
  const rows = "select md5(string_agg(o::text, ',' order by id)) from object o";
  const audit =
    "select md5(string_agg(concat(object, was, became), ',' order by object)) from audit";
  return `${String(await askServer(url, rows))} ${String(await askServer(url, audit))}`;
}

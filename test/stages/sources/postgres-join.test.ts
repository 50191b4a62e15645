import assert from "node:assert/strict";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import * as fc from "fast-check";
import * as v from "valibot";
import { createLease } from "../../../src/stages/lease.ts";
import type { Tuple } from "../../../src/stages/nouns.ts";
import { atEase } from "../../../src/stages/pressure.ts";
import { postgres, readTuples } from "../../../src/stages/sources/postgres.ts";
import { pushAll } from "../../../src/stages/sources/postgres-join.ts";
import { openSession } from "../../../src/stages/sources/postgres-session.ts";
import { corpusPostgres } from "../../servers/postgres-corpus.ts";
import { runSql } from "../../servers/postgres.ts";
import { type Asked, type Format, plannedAs, sameEveryWay, type Step } from "./pushed-records.ts";

/** Keys that a server may join by, and others that it would take for equal where texts are not. */
const keys: Readonly<Record<string, readonly string[]>> = {
  int2: ["1", "2", "-5", "32767"],
  int4: ["1", "2", "-5", "2147483647"],
  int8: ["1", "2", "-5", "9223372036854775807"],
  oid: ["1", "2", "4294967295"],
  bool: ["t", "f"],
  text: ["a", "A", "a ", "", "ünï 🩺", "1", "true", "quote \" '' \\\\ {x},"],
  "varchar(9)": ["a", "A", "a ", "", "1"],
  date: ["2024-02-29", "infinity", "0044-03-15 BC"],
  uuid: ["a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11", "00000000-0000-0000-0000-000000000001"],
  numeric: ["1", "1.0", "NaN", "2"],
  float8: ["0", "-0", "1"],
  citext: ["a", "A", "b"],
  "char(4)": ["a", "ab", ""],
  name: ["a", "A"],
  types_score: ["1.5", "1.50"],
  "int4[]": ["{1}", "{}"],
};
/** What a lookup adds, of every kind of JSON. */
const added: Readonly<Record<string, string>> = {
  text: "'two' || chr(10) || 'lines ' || n",
  "numeric(9, 3)": "n / 7.0",
  "int4[]": "array[n, null]",
  jsonb: `jsonb_build_object('b', n, 'a', null)`,
  timestamptz: "timestamptz '2024-02-29 23:59:59.999999+05:45' + n * interval '1 s'",
  types_pair: "row(n, 'x', null)::types_pair",
  bool: "n % 2 = 0",
};
const odd = ["a", "B", 'q"uote', "__proto__", "ключ 🔑", "c0", "0 of the table", "two\nlines"];

describe("a lookup in PostgreSQL's query", () => {
  let url: string;
  before(async () => {
    url = await corpusPostgres();
    await runSql(
      url,
      "create table join_terms (code text primary key, display text, unit int, hidden bool default false)",
      "insert into join_terms select 'c' || g, 'Größe \"' || g || '\"', g % 7 from generate_series(1, 500) g",
      "create table join_units (id int primary key, name text)",
      "insert into join_units select g, 'unit ' || g from generate_series(0, 5) g",
      "create table join_rows as select g as id, 'c' || g % 600 as code, g % 9 as unit_id, md5(g::text) as m from generate_series(1, 5000) g",
      "analyze join_terms, join_units, join_rows",
    );
  });

  const same = (asked: Omit<Asked, "url">, at = url) => sameEveryWay({ url: at, ...asked });
  const terms = { query: "select code, display from join_terms", on: "code" };
  const rows = "select id, code from join_rows order by m";

  it("gives the records, or the error, that the lookup gives, for any keys, names and shapes", async () => {
    const done = { joined: 0, apart: 0, failed: 0 };
    let nth = 0;
    await fc.assert(
      fc.asyncProperty(fc.infiniteStream(fc.nat()), async (stream) => {
        const pick = (most: number) => (stream.next().value as number) % most;
        const table = `join_case_${(nth += 1)}`;
        const asked = await makeCase(table, pick);
        const { isJoined, error } = await same(asked);
        await runSql(url, `drop table ${table}_of, ${table} cascade`);
        if (error !== undefined) done.failed += 1;
        else done[isJoined ? "joined" : "apart"] += 1;
      }),
      { numRuns: 8 },
    );
    assert.ok(done.joined + done.apart + done.failed === 8, JSON.stringify(done));
  }).timeout(60_000);

  /** Two tables, the second to be looked up, by one key or two; keys may be missing, NULL or doubled. */
  async function makeCase(table: string, pick: (most: number) => number) {
    const one = <T>(all: readonly T[]): T => all[pick(all.length)]!;
    const names = odd.toSpliced(pick(odd.length), 1);
    const all = Object.keys(keys);
    const types = pick(4) === 0 ? all : all.slice(0, all.indexOf("numeric"));
    const pairs = Array.from({ length: 1 + pick(2) }, () => {
      const own = one(types);
      return { own, its: pick(6) === 0 ? one(types) : own };
    });
    const valueOf = (type: string, none: number) =>
      pick(none) === 0 ? "null" : `'${one(keys[type]!)}'`;
    const insert = (into: string, column: "own" | "its", count: number) =>
      Array.from({ length: count }, (_, n) => {
        const cells = pairs.map((pair) => valueOf(pair[column], column === "own" ? 5 : 20));
        const more = column === "own" ? "" : `, ${addedText.replaceAll("n", String(n))}`;
        return `insert into ${into} select ${cells.join(", ")}${more} on conflict do nothing`;
      });
    const addedType = one(Object.keys(added));
    const addedText = "n";
    const [extra, ...keyNames] = names;
    const own = pairs.map((pair, i) => `${quote(keyNames[i]!)} ${pair.own}`);
    const its = pairs.map((pair, i) => `k${i} ${pair.its}`);
    const key = pairs.map((_, i) => `k${i}`).join(", ");
    const index = one([`unique (${key})`, `unique (${key})`, `unique (${key})`, "check (true)"]);
    await runSql(
      url,
      `create table ${table}_of (${own.join(", ")})`,
      `create table ${table} (${its.join(", ")}, n int, ${index})`,
      ...insert(`${table}_of`, "own", 12),
      ...insert(table, "its", pick(9)),
      `create view ${table}_view as select ${key}, n from ${table} where n <> 3`,
    );
    const gained = `${added[addedType]!} as ${quote(extra!)}, n as number`;
    const query = one([
      `select ${gained}, ${key} from ${table}`,
      `select ${key}, ${gained} from ${table} where n < 7; -- the end`,
      `select ${key}, ${gained} from ${table}_view`,
      `select ${key}, ${gained}, u.name from ${table} left join join_units u on u.id = n`,
      `select ${key}, ${gained}, u.name from ${table} join join_units u on u.id = n`,
      `select ${key}, ${gained} from ${table} where exists (select from join_units where id = n)`,
      `select ${key}, ${gained} from ${table} limit 100`,
      `select distinct on (${key}) ${key}, ${gained} from ${table} order by ${key}, n`,
    ]);
    const on = Object.fromEntries(pairs.map((_, i) => [keyNames[i]!, `k${i}`]));
    const missing = one(["keep", "drop"]);
    const looks: Step = { lookup: { query, on, missing } };
    const before: Step[] = [
      { select: keyNames.slice(0, pairs.length).toReversed() },
      { filter: { column: keyNames[0]!, not: "nobody" } },
    ];
    const after: Step[] = [
      { filter: { column: "number", not: 2 } },
      { select: ["number", keyNames[0]!] },
    ];
    return {
      query: `select * from ${table}_of ${one(["", "order by 1 desc, ctid"])}`,
      steps: [...before.slice(pick(3)), looks, ...after.slice(pick(3))],
      format: one<Format>(["ndjson", "json", "csv"]),
    };
  }

  it("goes straight to records, several lookups too, and each by what another added", async () => {
    const query = "select id, code from join_rows order by m";
    const units = { query: "select id as unit, name from join_units", on: "unit" };
    const steps = [
      { lookup: { ...terms, query: "select code, unit from join_terms" } },
      { lookup: { ...units, missing: "drop" } },
    ];
    assert.deepEqual(plannedAs({ url, query, steps }), ["postgres+lookup+lookup+serialize"]);
    const { isJoined, records, text, proved } = await same({ query, steps });
    assert.ok(isJoined);
    assert.ok(records > 3000 && records < 4000 && proved === records, `${records}`);
    assert.match(text!, /^\{"id":\d+,"code":"c\d+","unit":[0-5],"name":"unit [0-5]"\}$/m);
  });

  it("gives rows where a function behind it needs them", async () => {
    const folder = await mkdtemp(join(tmpdir(), "spillway-join-"));
    const module = join(folder, "keep.mjs");
    await writeFile(
      module,
      "export default ({ id, display }) => id % 2 === 0 && display !== null;",
    );
    const steps = [{ lookup: terms }, { filter: { module } }];
    assert.deepEqual(plannedAs({ url, query: rows, steps }), [
      "postgres+lookup",
      "filter",
      "serialize",
    ]);
    const { isJoined, records } = await same({ query: rows, steps });
    await rm(folder, { recursive: true });
    assert.ok(isJoined && records > 1000, `${records}`);
  });

  it("joins what joins itself, where each of its joins adds no row", async () => {
    const query = (more: string) =>
      `select t.code, u.name, more.display from join_terms t join join_units u on u.id = t.unit ${more}`;
    const looks = (more: string) =>
      same({ query: rows, steps: [{ lookup: { query: query(more), on: "code" } }] });
    assert.ok((await looks("left join join_terms more on more.code = 'c' || t.unit")).isJoined);
    const { told } = await looks("left join join_terms more on more.unit = t.unit and t.unit = 77");
    assert.match(told[0]!, /does not prove that no two rows/);
  });

  it("keeps the order and the plan of a query that sorts and joins, also where the server works in parallel", async () => {
    const query =
      "select r.id, r.code, u.name from join_rows r join join_units u on u.id = r.unit_id order by r.m";
    for (const settings of [
      [],
      ["min_parallel_table_scan_size=0", "parallel_setup_cost=0", "parallel_tuple_cost=0"],
    ]) {
      const at = new URL(url);
      at.searchParams.set("options", settings.map((setting) => `-c ${setting}`).join(" "));
      const { isJoined, records } = await same({ query, steps: [{ lookup: terms }] }, at.href);
      assert.ok(isJoined);
      assert.ok(records > 3000);
      const session = await openSession(
        { url: at.href, connectMillis: 9000, answerMillis: 9000 },
        new AbortController().signal,
      );
      const looked = { query: terms.query, on: { code: "code" }, missing: "keep" } as const;
      await session.ask("begin isolation level repeatable read");
      const { sql } = await pushAll(session, { sql: query, values: [] }, [{ lookup: looked }]);
      const explained = async (text: string) =>
        (await session.ask(`explain (costs off) ${text}`)).rows
          .map(([line]) => line!.replace("->", "").trim())
          .filter((line) => !/^(Nested Loop|Subquery Scan)/.test(line));
      const alone = await explained(query);
      assert.ok(alone.some((line) => (settings.length > 0 ? /^Gather/ : /^Hash Join/).test(line)));
      assert.deepEqual((await explained(sql)).slice(0, alone.length), alone);
      await session.close();
    }
  });

  it("puts names that are numbers where objects of JavaScript would have them", async () => {
    const steps = [
      { lookup: { query: 'select code, unit, display as "2" from join_terms', on: "code" } },
      { select: ["unit", "2", "id"] },
      { lookup: { query: 'select id as unit, name as "1" from join_units', on: "unit" } },
    ];
    const { isJoined, columns } = await same({ query: rows, steps });
    assert.ok(isJoined);
    assert.deepEqual(
      columns!.map(({ name }) => name),
      ["1", "2", "unit", "id"],
    );
  });

  it("gives rows to a function that are as wide as what was joined to them, each part within the limit", async () => {
    await runSql(
      url,
      "create table join_fat as select 'c' || g as code, repeat('x', case when g > 5 then 200 else 200000 end) as fat from generate_series(1, 3000) g",
      "alter table join_fat add primary key (code)",
      "analyze join_fat",
    );
    const query =
      "select 'c' || g as code, repeat('y', 200000) as own from generate_series(1, 5) g";
    const looked = { query: "select code, fat from join_fat", on: { code: "code" } };
    const steps = [{ lookup: { ...looked, missing: "keep" as const } }];
    const settings = { ...atEase.settings, spareBytes: 0 };
    const ctx = {
      signal: new AbortController().signal,
      lease: createLease(0, { ...atEase, settings }),
    };
    const widths: number[] = [];
    for await (const { rows } of readTuples(
      { ...v.parse(postgres.config, { url, query }), steps },
      ctx,
      "json",
    ))
      widths.push(...rows.map((row) => (row as Tuple).join("").length));
    assert.deepEqual(widths, Array(5).fill(400_002));
  });

  it("refuses as the lookup does what cannot be looked up", async () => {
    const wrong: readonly [string, Record<string, unknown>, RegExp][] = [
      ["select id, code, 1 as display from join_rows", {}, /have a column "display" already/],
      ["select id as code, code from join_rows", {}, /there is no column|two columns are named/],
      [rows, { on: { kode: "code" } }, /there is no column "kode"/],
      [rows, { on: { code: "kode" } }, /the query gives no column "kode"/],
      [rows, { query: "select code, code from join_terms" }, /more than one column "code"/],
      [rows, { query: "select nothing" }, /42703/],
      [rows, { query: "select code, 1 / (unit - unit) as n from join_terms" }, /22012/],
    ];
    for (const [query, given, message] of wrong.filter(
      ([query]) => !query.includes("id as code"),
    )) {
      const { error } = await same({ query, steps: [{ lookup: { ...terms, ...given } }] });
      assert.match(error!, message);
    }
  });

  it("sees what its role sees: its schema first, and the rows that policies leave", async () => {
    await runSql(
      url,
      "create role join_reader login",
      "create schema join_own",
      "create table join_own.join_units (id int primary key, name text)",
      "insert into join_own.join_units values (1, 'own')",
      "alter role join_reader set search_path = join_own, public",
      "grant usage on schema join_own to join_reader",
      "grant select on join_own.join_units, join_rows, join_terms to join_reader",
      "alter table join_terms enable row level security",
      "create policy odd on join_terms for select to join_reader using (unit = 1)",
    );
    const reader = new URL(url);
    reader.username = "join_reader";
    const steps = [
      { lookup: { query: "select id as unit_id, name from join_units", on: "unit_id" } },
      { lookup: terms },
    ];
    const query = "select id, unit_id, code from join_rows where id < 50 order by id";
    const { isJoined, text } = await same({ query, steps }, reader.href);
    assert.ok(isJoined);
    const found = text!
      .trim()
      .split("\n")
      .map((line) => JSON.parse(line) as Record<string, unknown>);
    for (const { id, unit_id, name, display } of found) {
      assert.equal(name, unit_id === 1 ? "own" : null);
      assert.equal(display, Number(id) % 7 === 1 ? `Größe "${Number(id)}"` : null);
    }
    assert.match((await same({ query, steps })).text!, /"name":"unit 3"/);
  });

  it("takes names for its own, not for columns of the rows", async () => {
    const query = "select code, c0 as whole, q from join_terms as c0, (select 1) as q";
    const left = query.replace(", (select 1)", " left join (select 1)").concat(" on true");
    const { text } = await same({ query: rows, steps: [{ lookup: { query: left, on: "code" } }] });
    assert.match(text!, /"whole":\{"code":"c\d+","display":/);
  });
});

const quote = (name: string): string => `"${name.replaceAll('"', '""')}"`;

/** Keys by which an export can go on, and those that are refused, by the server's catalogue or by the rows themselves. */
import assert from "node:assert/strict";
import * as v from "valibot";
import { createLease } from "../../../src/stages/lease.ts";
import type { Mark, ResumePoint, RowBatch } from "../../../src/stages/nouns.ts";
import type { RowStep } from "../../../src/stages/sources/postgres-pushdown.ts";
import { postgres, readTuples } from "../../../src/stages/sources/postgres.ts";
import { runSql, sharedPostgres } from "../../servers/postgres.ts";

let url = "";

before(async () => {
  url = (await sharedPostgres()).url;
  await runSql(
    url,
    "create table keyed (id int primary key, code text not null unique, maybe int unique, bare int not null)",
    "insert into keyed select g, 'code ' || g, nullif(g, 3), g from generate_series(1, 9) g",
    "create table visits (keyed_id int, visit int)",
    "insert into visits values (2, 1), (2, 2), (4, 1)",
    "create unique index on keyed (bare) where bare > 5",
    "create unique index on keyed ((bare + 1))",
    "create collation loose (provider = icu, locale = 'und-u-ks-level2', deterministic = false)",
    'create table loosely (name text collate loose not null, other text collate "C" not null)',
    'create unique index on loosely (name collate "C")',
    "insert into loosely values ('a', 'a'), ('A', 'b')",
    "create table parent (id int primary key)",
    "create table child () inherits (parent)",
    "insert into parent values (1)",
    "insert into child values (1)",
    "create view keyed_view as select * from keyed",
  );
});

interface Options {
  /** The shared server's own database when absent. */
  readonly at?: string;
  readonly key?: readonly string[];
  readonly params?: readonly (string | number)[];
  readonly point?: ResumePoint;
  readonly steps?: readonly RowStep[];
}

async function read(query: string, options: Options = {}) {
  const { at = url, key = ["id"], params = [], point, steps = [] } = options;
  const config = v.parse(postgres.config, { url: at, query, key, params, resume: "epochs" });
  const { signal } = new AbortController();
  const ctx = { signal, lease: createLease(0), spool: { point } };
  const batches: RowBatch[] = [];
  for await (const batch of readTuples({ ...config, steps }, ctx, "json")) batches.push(batch);
  return {
    rows: batches.flatMap(({ rows }) => rows as readonly (readonly unknown[])[]),
    marks: batches.flatMap(({ marks = [] }) => marks),
    batches,
    end: batches.at(-1)!.end!,
  };
}

const behind = (mark: Mark): ResumePoint => ({ page: 3, total: 9, chain: "00".repeat(32), mark });

const refuses = (query: string, key: readonly string[], message: RegExp) =>
  assert.rejects(read(query, { key }), { code: "source-refused", message });

describe("postgres by key", () => {
  it("gives rows in the order of the key, each with its place, and the key in no row twice", async () => {
    const { rows, marks, batches, end } = await read("select code, id from keyed order by code", {
      key: ["id desc"],
    });
    assert.deepEqual(rows[0], ["code 9", "9"]);
    assert.deepEqual(marks.map(({ row, key }) => [row, ...key]).slice(0, 2), [
      [1, "9"],
      [2, "8"],
    ]);
    assert.deepEqual(
      batches[0]?.columns.map(({ name }) => name),
      ["code", "id"],
    );
    assert.equal(end.rows, 9);
    assert.equal(end.consistency.class, "snapshot");
  });

  it("goes on behind a row, also one that is gone, and says of which epoch each row is", async () => {
    const query = "select id, code from keyed";
    const first = await read(query, { key: ["code desc", "id"] });
    const point = behind(first.marks[4]!);
    await runSql(
      url,
      "delete from keyed where code = 'code 5'",
      "insert into keyed values (50, 'code 50', 50, 50)",
    );
    const { rows, batches, end, marks } = await read(query, { key: ["code desc", "id"], point });
    await runSql(
      url,
      "delete from keyed where id = 50",
      "insert into keyed values (5, 'code 5', 5, 5)",
    );
    assert.equal(batches[0]?.from, point);
    assert.deepEqual(
      rows.map(([id]) => id),
      ["4", "3", "2", "1"],
    );
    assert.equal(marks[0]?.row, 6);
    assert.equal(end.rows, 9);
    assert.equal(end.consistency.class, "epochs");
    const { proof } = end.consistency;
    assert.deepEqual(
      ["epoch1.firstPage", "epoch1.rows", "epoch2.firstPage", "epoch2.rows"].map(
        (name) => proof[name],
      ),
      [0, 5, 4, 4],
    );
    assert.notEqual(proof["epoch1.snapshot"], proof["epoch2.snapshot"]);
  });

  it("refuses to go on with other columns", async () => {
    const { marks } = await read("select id, code from keyed");
    await assert.rejects(read("select id, bare from keyed", { point: behind(marks[0]!) }), {
      code: "source-changed",
      message: /other columns/,
    });
  });

  it("refuses a key for which the server does not vouch", async () => {
    await refuses("select * from keyed", ["bare"], /no unique index/);
    await refuses("select * from keyed", ["maybe"], /may be null/);
    await refuses("select * from keyed", ["nothing"], /does not give once/);
    await refuses("select id, id from keyed", ["id"], /does not give once/);
    await refuses("select id + 0 as id from keyed", ["id"], /is computed/);
    await refuses(
      "select k.id, visit from keyed k join visits on keyed_id = id",
      ["id", "visit"],
      /several tables/,
    );
    await refuses("select * from keyed_view", ["id"], /no unique index/);
    await refuses("select * from parent", ["id"], /others inherit/);
    await refuses(
      "select id from keyed union all select id from keyed",
      ["id"],
      /is computed|no unique/,
    );
  });

  it("refuses an index that tells apart what the order does not", async () => {
    await refuses("select * from loosely", ["name"], /no unique index/);
    await runSql(url, "create unique index on loosely (other)");
    assert.equal((await read("select * from loosely", { key: ["other"] })).end.rows, 2);
  });

  it("refuses a type whose order have names that lead to those of another", async () => {
    await runSql(url, "create database keyed_apart");
    const at = Object.assign(new URL(url), { pathname: "/keyed_apart" }).href;
    await runSql(
      at,
      "create schema apart",
      "create extension citext schema apart",
      "create domain apart.name as apart.citext",
      "create table people (name apart.name primary key, id int not null unique)",
      "insert into people values ('a', 3), ('B', 2), ('c', 1)",
    );
    const query = "select name, id from people";
    for (const key of [["name"], ["name", "id"]]) {
      const reading = read(query, { at, key });
      await assert.rejects(reading, { code: "source-refused", message: /type whose order/ });
    }
    await runSql(at, "alter database keyed_apart set search_path = public, apart");
    const { marks } = await read(query, { at, key: ["name"] });
    const rest = await read(query, { at, key: ["name"], point: behind(marks[0]!) });
    assert.deepEqual(rest.rows, [
      ["B", "2"],
      ["c", "1"],
    ]);
    // Its operators have names of their own, and other indexes than those that order it.
    await runSql(at, "create extension hstore", "create table tagged (tags hstore primary key)");
    await assert.rejects(read("select * from tagged", { at, key: ["tags"] }), {
      message: /type whose order/,
    });
  });

  it("refuses rows that share a key, and a key that a join made null", async () => {
    const doubled = "select k.id, visit from keyed k left join visits on keyed_id = id";
    await refuses(
      doubled,
      ["id"],
      /behind row 2 has a `key` that is null or that of the row before it/,
    );
    await refuses(
      "select k.id from visits left join keyed k on k.id = keyed_id + 100",
      ["id"],
      /behind row 0 has/,
    );
  });

  it("refuses a key that is null also when it goes on, where no bound would let it pass", async () => {
    const joined = "select k.id, code, n from generate_series(1, $1) n left join keyed k on id = n";
    const inPart =
      "select id, code, count(*) from keyed group by rollup (id, code) having grouping(id, code) < $1";
    for (const key of [["id"], ["id desc"], ["id", "code"], ["id", "code desc"], ["code"]])
      for (const [query, without, having] of [
        [joined, 9, 10],
        [inPart, 1, key[1] ? 2 : 4],
      ] as const) {
        const { marks, end } = await read(query, { key, params: [without] });
        const point = behind(marks[4]!);
        assert.equal((await read(query, { key, params: [without], point })).end.rows, end.rows);
        await assert.rejects(read(query, { key, params: [having], point }), {
          code: "source-refused",
          message: /^the query has a row whose `key` is null/,
        });
      }
  });

  it("goes on where the filter leaves out what has no key, as from the start", async () => {
    const query = "select k.id, n from generate_series(1, 10) n left join keyed k on id = n";
    const steps = [{ column: "n", wanted: ["10"], negated: true }];
    const { marks, end } = await read(query, { steps });
    assert.equal(end.rows, 9);
    assert.equal((await read(query, { steps, point: behind(marks[4]!) })).end.rows, 9);
  });

  it("refuses a query whose parameters could be taken for its own", async () => {
    await assert.rejects(read("select * from keyed where id > $1 or id = $2", { params: [1] }), {
      code: "source-refused",
      message: /mention each of its `params`/,
    });
  });
});

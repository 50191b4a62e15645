import assert from "node:assert/strict";
import { Unjoined } from "../../../src/stages/sources/postgres-join-proof.ts";
import { pushAll } from "../../../src/stages/sources/postgres-join.ts";
import { openSession } from "../../../src/stages/sources/postgres-session.ts";
import { corpusPostgres } from "../../servers/postgres-corpus.ts";
import { runSql } from "../../servers/postgres.ts";
import { type Asked, sameEveryWay } from "./pushed-records.ts";

describe("what a server proves of a lookup", () => {
  let url: string;
  before(async () => {
    url = await corpusPostgres();
    await runSql(
      url,
      "create table proof_terms (code text primary key, display text, unit int)",
      "insert into proof_terms select 'c' || g, 'Term ' || g, g % 7 from generate_series(1, 500) g",
      "create table proof_rows as select g as id, 'c' || g % 600 as code, g % 9 as unit_id, md5(g::text) as m from generate_series(1, 300) g",
      "analyze proof_terms, proof_rows",
    );
  });

  const same = (asked: Omit<Asked, "url">) => sameEveryWay({ url, ...asked });
  const rows = "select id, code, unit_id from proof_rows order by m";

  it("asks nobody where a key is doubled, computed, compared blindly or not found by an index", async () => {
    await runSql(
      url,
      "create table proof_doubles as select 'c1' as code, n from generate_series(1, 2) n",
      "create collation proof_blind (provider = icu, locale = 'und-u-ks-level1', deterministic = false)",
      "create table proof_folded (code text collate proof_blind primary key, n int)",
      "insert into proof_folded values ('C1', 1), ('c2', 2)",
      "create table proof_unindexed as select 'c' || g as code, g as n from generate_series(1, 9000) g",
    );
    const cases = [
      ["select code, n from proof_doubles", /no two rows of its query have the same key/],
      ["select upper(code) as code, unit from proof_terms", /key "code" is computed/],
      [
        "select code, n from proof_folded",
        /key "code" is computed by its query, or is not compared/,
      ],
      ["select distinct on (code) code, n from proof_unindexed", /no index of the server finds/],
      ["select code, count(*) as n from proof_unindexed group by code", /no index of the server/],
      ["select code, display from proof_terms limit 400", /no two rows of its query/],
      ["select code::name as code, unit from proof_terms", /key "code" has a type, or two/],
      ["select code, display from proof_terms where random() >= 0", /calls a volatile function/],
      [
        "select distinct on (code) code, random() < 1 as n from proof_terms",
        /calls a volatile function/,
      ],
      ["show server_version", /one column "code"|syntax|42601/],
    ] as const;
    for (const [query, why] of cases) {
      const { isJoined, told } = await same({
        query: rows,
        steps: [{ lookup: { query, on: "code" } }],
      });
      assert.ok(!isJoined, query);
      assert.match(told[0]!, why);
    }
  }).timeout(30_000);

  it("asks no function for its rows again for each row, whatever they are guessed to cost", async () => {
    await runSql(
      url,
      `create function proof_numbers() returns table (unit_id int, n int) stable rows 10 language plpgsql
       as 'begin return query select g, g from generate_series(1, 2000) g; end'`,
    );
    const query = "select distinct on (unit_id) unit_id, n from proof_numbers() order by unit_id";
    const { told } = await same({ query: rows, steps: [{ lookup: { query, on: "unit_id" } }] });
    assert.match(told[0]!, /no index of the server/);
  });

  it("leaves to JavaScript what has more columns than a query may have", async () => {
    const many = (count: number, prefix: string) =>
      Array.from({ length: count }, (_, n) => `${n} as ${prefix}${n}`).join(", ");
    await runSql(
      url,
      `create table proof_wide as select 'c1' as code, ${many(800, "b")}`,
      "alter table proof_wide add primary key (code)",
    );
    const steps = [{ lookup: { query: "select * from proof_wide", on: "code" } }];
    const { told, columns } = await same({
      query: `select 'c1' as code, ${many(900, "a")}`,
      steps,
    });
    assert.match(told[0]!, /54011/);
    assert.equal(columns!.length, 1701);
  });

  it("compares in the collation of the lookup's column, whatever that of the rows takes for equal", async () => {
    await runSql(
      url,
      "create collation proof_letters (provider = icu, locale = 'und-u-ks-level1', deterministic = false)",
    );
    const code = "case id % 2 when 0 then upper(code) else code end collate proof_letters";
    const query = `select id, ${code} as code from proof_rows where id <= 20 order by id`;
    const lookup = { query: "select code, display from proof_terms", on: "code" };
    const { isJoined, text } = await same({ query, steps: [{ lookup }] });
    assert.ok(isJoined);
    const lines = text!.trimEnd().split("\n");
    const found = lines.map((line) => line.includes("Term "));
    assert.deepEqual(
      found,
      Array.from({ length: 20 }, (_, at) => at % 2 === 0),
    );
  });

  it("takes for equal what has the same text, in all columns of a key", async () => {
    const cases = [
      ["char(4)", "a", "char(6)", "a", false],
      ["numeric", "1.0", "numeric", "1", false],
      ["float8", "-0", "float8", "0", false],
      ["citext", "A", "citext", "a", false],
      ["int2", "7", "int8", "7", true],
      ["varchar(3)", "a", "text", "a ", true],
    ] as const;
    for (const [own, value, its, other, isJoinable] of cases) {
      await runSql(
        url,
        "drop table if exists proof_typed",
        `create table proof_typed (a ${its}, b int, found int default 1, primary key (a, b))`,
        `insert into proof_typed values ('${other}', 1)`,
      );
      const query = `select '${value}'::${own} as a, b from generate_series(1, 2) b order by b`;
      const on = { a: "a", b: "b" };
      const steps = [{ lookup: { query: "select * from proof_typed", on } }];
      const { isJoined, text } = await same({ query, steps });
      assert.equal(isJoined, isJoinable, own);
      const found = text!.split("\n").map((line) => line.includes('"found":1'));
      assert.deepEqual(found, [own === "int2", false, false]);
    }
  });

  it("trusts no index that is younger than the snapshot, which may see two rows with one key", async () => {
    await runSql(
      url,
      "create table proof_young (code text, n int)",
      "insert into proof_young values ('c1', 1), ('c1', 2)",
    );
    const session = await openSession(
      { url, connectMillis: 9000, answerMillis: 9000 },
      new AbortController().signal,
    );
    const push = () =>
      pushAll(session, { sql: rows, values: [] }, [
        { lookup: { query: "select * from proof_young", on: { code: "code" }, missing: "keep" } },
      ]);
    await session.ask("begin isolation level repeatable read");
    await session.ask("select pg_current_snapshot()");
    await runSql(
      url,
      "delete from proof_young where n = 2",
      "alter table proof_young add primary key (code)",
    );
    await assert.rejects(push(), (error: unknown) => {
      assert.ok(error instanceof Unjoined);
      assert.match(error.message, /younger than the snapshot/);
      return true;
    });
    await session.ask("rollback");
    await session.ask("begin isolation level repeatable read");
    assert.match((await push()).sql, /left join lateral/);
    await session.ask("rollback");
    // As a standby has it, on which an index may become whole while a snapshot lasts.
    const mark = (isWhole: boolean) =>
      runSql(
        url,
        `update pg_index set indisvalid = ${isWhole} where indexrelid = 'proof_young_pkey'::regclass`,
      );
    await mark(false);
    await session.ask("begin isolation level repeatable read");
    await session.ask("select pg_current_snapshot()");
    await mark(true);
    await assert.rejects(push(), /younger than the snapshot/);
    await session.close();
  });
});

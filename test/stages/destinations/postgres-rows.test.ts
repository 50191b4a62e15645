/** Records as the server reads them by the types of a table. */
import assert from "node:assert/strict";
import type { Destination } from "../../../src/stages/destinations/destination.ts";
import { openDestination, probeDestination } from "../../../src/stages/destinations/schemes.ts";
import { expectError, objectOf } from "../../contract/destination-contract.ts";
import { runSql, sharedPostgres } from "../../servers/postgres.ts";

const never = new AbortController().signal;

describe("records in a table of PostgreSQL", () => {
  let url: string;
  before(async () => {
    ({ url } = await sharedPostgres());
    await runSql(
      url,
      "drop schema if exists rows_test cascade",
      "drop role if exists rows_odd, rows_narrow",
      "create schema rows_test",
      "create table rows_test.docs (doc jsonb, list jsonb[], old json[])",
    );
  });
  after(() =>
    runSql(
      url,
      "drop schema if exists rows_test cascade",
      "drop role if exists rows_odd, rows_narrow",
    ),
  );

  const open = (table: string, key: readonly string[] = [], to = url) =>
    openDestination(to, { timeoutMillis: 5000, rows: { table, key } });
  const put = (destination: Destination, page: number, record: string) =>
    destination.put(objectOf(`p/r/0000000${page}.ndjson`, `${record}\n`), never);

  it("have NULL for JSON's own null where it is a whole value, in a list of them too, and keep it within one", async () => {
    const table = "rows_test.docs";
    const destination = await open(table);
    await put(destination, 0, '{"doc":null,"list":[null,{"x":null},[null]],"old":[null,[null]]}');
    await destination.close();
    const nulls = "doc is null, array_positions(list, null), array_position(old::text[], null)";
    const seen = await runSql(url, `select ${nulls}, list[2], list[3], old[2] from ${table}`);
    assert.deepEqual(seen, [["t", "{1}", "1", '{"x": null}', "[null]", "[null]"]]);
  });

  it("are read by the types that the table has by then, and written and noted where its name leads", async () => {
    await runSql(
      url,
      "create table rows_test.altered (id int, value numeric(9, 2))",
      "create table rows_test.next (id bigint, value numeric)",
    );
    const destination = await open("rows_test.altered");
    await put(destination, 0, '{"id":1,"value":1.2345}');
    await runSql(url, "alter table rows_test.altered alter value type numeric");
    await put(destination, 1, '{"id":2,"value":1.2345}');
    await runSql(
      url,
      "alter table rows_test.altered rename to before",
      "alter table rows_test.next rename to altered",
    );
    await put(destination, 2, '{"id":5000000000,"value":1}');
    await destination.close();
    const again = await open("rows_test.altered");
    await put(again, 2, '{"id":5000000000,"value":1}');
    await again.close();
    const valuesOf = (table: string) =>
      runSql(url, `select id, value from rows_test.${table} order by id`);
    assert.deepEqual(await valuesOf("before"), [
      ["1", "1.23"],
      ["2", "1.2345"],
    ]);
    assert.deepEqual(await valuesOf("altered"), [["5000000000", "1"]]);
  });

  it("need no rights on columns that they do not name", async () => {
    const columns = "(id, value)";
    await runSql(
      url,
      "create table rows_test.wide (id int, value text, stored_at timestamptz default now())",
    );
    const owner = await open("rows_test.wide");
    await put(owner, 0, '{"id":1,"value":"x"}');
    await owner.close();
    await runSql(
      url,
      "create role rows_narrow login",
      "grant usage on schema rows_test to rows_narrow",
      `grant insert ${columns}, select ${columns} on rows_test.wide to rows_narrow`,
    );
    const narrow = new URL(url);
    narrow.username = "rows_narrow";
    const unnoted = await open("rows_test.wide", [], narrow.href);
    const refused = expectError("destination-refused", put(unnoted, 1, '{"id":2,"value":"y"}'));
    assert.match((await refused).message, /42501.*spillway_objects beside it/);
    await unnoted.close();
    await runSql(url, "grant insert, select on rows_test.spillway_objects to rows_narrow");
    const rows = { table: "rows_test.wide", key: [] };
    const asked = { timeoutMillis: 5000, rows, folder: "p", signal: never };
    const found = await Array.fromAsync(probeDestination(narrow.href, asked));
    assert.deepEqual(
      found.map(({ level, check }) => `${level} ${check}`),
      ["ok table"],
    );
    const destination = await open("rows_test.wide", [], narrow.href);
    await put(destination, 1, '{"id":2,"value":"y"}');
    await destination.close();
    const seen = await runSql(url, "select id, value, stored_at is null from rows_test.wide");
    assert.deepEqual(seen, [
      ["1", "x", "f"],
      ["2", "y", "f"],
    ]);
  });

  it("are read alike whatever the settings of a role are, and for as long as it takes", async () => {
    await runSql(
      url,
      "create table rows_test.odd (list text[], doc xml, at timestamptz, locked text default current_setting('lock_timeout'))",
      "create function rows_test.wait() returns trigger language plpgsql as $$ begin perform pg_sleep(0.2); return new; end $$",
      "create trigger wait before insert on rows_test.odd for each row execute function rows_test.wait()",
      "create role rows_odd login superuser",
      ...[
        "array_nulls = off",
        "xmloption = document",
        "timezone = 'Asia/Kathmandu'",
        "bytea_output = escape",
        "statement_timeout = 100",
        "transaction_timeout = 100",
        "lock_timeout = 100",
      ].map((setting) => `alter role rows_odd set ${setting}`),
    );
    const destination = await open("rows_test.odd", [], url.replace("postgres@", "rows_odd@"));
    // As CSV has arrays.
    const record = '{"list":"{NULL,a}","doc":"a <b/>","at":"2024-01-01"}';
    await put(destination, 0, record);
    // As after a crash.
    await put(destination, 0, record);
    await destination.close();
    const seen = await runSql(
      url,
      "select list[1], doc, at at time zone 'UTC', locked from rows_test.odd",
    );
    assert.deepEqual(seen, [[null, "a <b/>", "2024-01-01 00:00:00", "0"]]);
  });

  it("are told apart within a page as the key's own collation tells them", async () => {
    await runSql(
      url,
      "create collation rows_test.\"a B\" (provider = icu, locale = 'und-u-ks-level2', deterministic = false)",
      'create table rows_test.named (name text collate rows_test."a B" primary key, n int)',
    );
    const destination = await open("rows_test.named", ["name"]);
    await put(destination, 0, '{"name":"ann","n":1}\n{"name":"Ann","n":2}\n{"name":"bob","n":3}');
    await put(destination, 1, '{"name":"BOB"}\n{"name":"Bob"}\n{"name":"cid"}');
    await destination.close();
    const seen = await runSql(url, "select name, n from rows_test.named order by name");
    assert.deepEqual(seen, [
      ["Ann", "2"],
      ["bob", "3"],
      ["cid", null],
    ]);
  });

  it("replace none by a key of which one part tells apart what overlaps", async function () {
    const [[version] = []] = await runSql(url, "show server_version_num");
    if (Number(version) < 180_000) this.skip();
    await runSql(
      url,
      "create table rows_test.spans (room int4range, at daterange, primary key (room, at without overlaps))",
    );
    const destination = await open("rows_test.spans", ["room", "at"]);
    const error = await expectError(
      "destination-refused",
      put(destination, 0, '{"room":"[1,2)","at":"[2024-01-01,2024-02-01)"}'),
    );
    assert.match(error.message, /has no unique index on exactly "room", "at"/);
    await destination.close();
  });
});

/** Records as the server reads them by the types of a table. */
import assert from "node:assert/strict";
import type { Destination } from "../../../src/stages/destinations/destination.ts";
import { openDestination } from "../../../src/stages/destinations/schemes.ts";
import { objectOf } from "../../contract/destination-contract.ts";
import { runSql, sharedPostgres } from "../../servers/postgres.ts";

const never = new AbortController().signal;

describe("records in a table of PostgreSQL", () => {
  let url: string;
  before(async () => {
    ({ url } = await sharedPostgres());
    await runSql(
      url,
      "drop schema if exists rows_test cascade",
      "create schema rows_test",
      "create table rows_test.docs (doc jsonb, list jsonb[], old json[])",
    );
  });
  after(() => runSql(url, "drop schema if exists rows_test cascade"));

  const open = (table: string) =>
    openDestination(url, { timeoutMillis: 5000, rows: { table, key: [] } });
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
});

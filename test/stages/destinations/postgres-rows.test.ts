/** Records as the server reads them by the types of a table. */
import assert from "node:assert/strict";
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

  it("have NULL for JSON's own null where it is a whole value, in a list of them too, and keep it within one", async () => {
    const table = "rows_test.docs";
    const destination = await openDestination(url, {
      timeoutMillis: 5000,
      rows: { table, key: [] },
    });
    const record = '{"doc":null,"list":[null,{"x":null},[null]],"old":[null,[null]]}\n';
    await destination.put(objectOf("p/r/00000000.ndjson", record), never);
    await destination.close();
    const nulls = "doc is null, array_positions(list, null), array_position(old::text[], null)";
    const seen = await runSql(url, `select ${nulls}, list[2], list[3], old[2] from ${table}`);
    assert.deepEqual(seen, [["t", "{1}", "1", '{"x": null}', "[null]", "[null]"]]);
  });
});

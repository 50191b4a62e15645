import assert from "node:assert/strict";
import { openLookupTable } from "../../../src/stages/transforms/lookup-table.ts";
import { runSql, sharedPostgres } from "../../servers/postgres.ts";

const open = (url: string, query: string, ...key: readonly string[]) =>
  openLookupTable(
    { url, query, key, timeout: 10_000, connectTimeout: 10_000 },
    new AbortController().signal,
  );

describe("the rows of a lookup's query", () => {
  it("are found by keys of a domain, over an enum too", async () => {
    const { url } = await sharedPostgres();
    await runSql(
      url,
      "create type lookup_mood as enum ('good', 'bad')",
      "create domain lookup_moods as lookup_mood",
      "create domain lookup_whole as int",
    );
    const table = await open(
      url,
      "select mood::lookup_moods, whole::lookup_whole, found from (values ('good', 1, 'a'), ('bad', 2, 'b')) as t(mood, whole, found)",
      "mood",
      "whole",
    );
    const keys = ['["bad","2"]', '["good","2"]', '["none","1"]'];
    assert.deepEqual(await table.ask(keys), [{ key: keys[0], cells: ["b"] }]);
    await table.close();
    await runSql(
      url,
      "drop domain lookup_moods",
      "drop domain lookup_whole",
      "drop type lookup_mood",
    );
  });

  it("are found whatever the query ends with, as where it is read whole", async () => {
    const { url } = await sharedPostgres();
    for (const end of [";", " ; -- terms; all of them", "\n;; /* ; */"]) {
      const table = await open(url, `select 1 as code, 'a;' as display${end}`, "code");
      assert.deepEqual(await table.ask(["1"]), [{ key: "1", cells: ["a;"] }]);
      await table.close();
    }
  });
});

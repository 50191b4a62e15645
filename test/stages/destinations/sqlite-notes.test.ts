import assert from "node:assert/strict";
import { DatabaseSync } from "node:sqlite";
import { findUnfinished, openNotes } from "../../../src/stages/destinations/sqlite-notes.ts";
import type { SqliteTable } from "../../../src/stages/destinations/sqlite-table.ts";

describe("the notes of a table of SQLite", () => {
  const table = { name: "t" } as SqliteTable;
  let database: DatabaseSync;
  /** Notes that were looked at. */
  let looked = 0;

  before(() => {
    database = new DatabaseSync(":memory:");
    database.function("look", () => (looked += 1));
    openNotes(database);
    const digits = "with digits(d) as (select value from json_each('[0,1,2,3,4,5,6,7,8,9]'))";
    const note = "insert into spillway_objects (name, target, bytes, sha256)";
    const pages = "digits a, digits b, digits c";
    database.exec(`
      ${note} ${digits} select format('p/run%d/%08d.ndjson', r.d, a.d * 100 + b.d * 10 + c.d), 't', 1, '' from digits r, ${pages};
      ${note} ${digits} select format('p/run%d/manifest.json', d), '', 1, '' from digits where d <> 7;
      ${note} ${digits} select format('other/run/%08d.ndjson', a.d * 100 + b.d * 10 + c.d), 't', 1, '' from ${pages};
      alter table spillway_objects rename to notes;
      create view spillway_objects as select * from notes where look();`);
  });
  after(() => database.close());
  const find = () => findUnfinished(database, table, "p/run99/00000000.ndjson");

  it("tell of a run that is not whole, among many that are", () => {
    assert.equal(find(), "run7");
    assert.equal(findUnfinished(database, table, "p/run7/00000000.ndjson"), undefined);
    assert.equal(findUnfinished(database, table, "third/run/00000000.ndjson"), undefined);
    assert.equal(findUnfinished(database, { ...table, name: "other" }, "p/a/1"), undefined);
  });

  it("are not read through for each run", () => {
    database.exec(
      "insert into notes (name, target, bytes, sha256) values ('p/run7/manifest.json', '', 1, '')",
    );
    looked = 0;
    assert.equal(find(), undefined);
    assert.ok(looked < 100, `${looked} of 11,000 notes were looked at`);
  });
});

import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { copyFile, mkdtemp, open, rename, rm, truncate, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { DatabaseSync } from "node:sqlite";
import { sqlite } from "../../../src/stages/sources/sqlite.ts";
import { checkStageContract, collect, testContext } from "../../contract/stage-contract.ts";
import { isEmptyTable, nothing, refuses, tuplesOf } from "../../fixtures/sources.ts";

type Params = (string | number | boolean | null)[];

describe("sqlite", () => {
  let folder: string;
  let path: string;

  beforeEach(async () => {
    folder = await mkdtemp(join(tmpdir(), "spillway-sqlite-"));
    path = join(folder, "in.db");
    execute(path, "create table t (id integer primary key, note text)");
    execute(path, `insert into t select value, printf('note %d', value) ${numbers(30_000)}`);
  });
  afterEach(() => rm(folder, { recursive: true }));

  const openQuery = (query: string, params: Params = [], maxRecord = 1_000_000) =>
    sqlite.open({ path, query, params, maxRecord }, testContext(), nothing());
  const read = (...args: Parameters<typeof openQuery>) => collect(openQuery(...args));

  checkStageContract({
    stage: sqlite,
    config: () => ({ path, query: "select * from t order by id" }),
    required: ["path", "query"],
    wrong: { path: "", query: 7, params: "1", maxRecord: "big" },
    empty: {
      config: () => ({ path, query: "select * from t where false" }),
      check: isEmptyTable,
    },
  });

  it("gives rows in the order of the query and ends with the proof of its snapshot", async () => {
    const batches = await read("select id from t order by id desc");
    assert.ok(batches.length > 3);
    assert.deepEqual(
      tuplesOf(batches).map(([id]) => id),
      Array.from({ length: 30_000 }, (_, index) => 30_000 - index),
    );
    const end = batches.at(-1)?.end;
    assert.equal(end?.rows, 30_000);
    assert.equal(end?.consistency.class, "snapshot");
    assert.equal(end?.consistency.proof["journal"], "delete");
    assert.equal(typeof end?.consistency.proof["changeCounter"], "number");
  });

  it("loses nothing of a value", async () => {
    execute(path, "create table v (a integer, b real, c text, d blob, e)");
    execute(
      path,
      `insert into v values (9223372036854775807, 9e999, 'é😀' || char(0) || 'x', x'00ff', null),
        (-9223372036854775808, -9e999, '', x'', 1.5), (9007199254740991, 0.1, 'a', zeroblob(2), 'e')`,
    );
    const [batch] = await read('select *, 1 as a, 2 as "a" from v');
    assert.deepEqual(batch?.rows, [
      [9223372036854775807n, "Infinity", "é😀\0x", "\\x00ff", null, 1, 2],
      [-9223372036854775808n, "-Infinity", "", "\\x", 1.5, 1, 2],
      [9007199254740991, 0.1, "a", "\\x0000", "e", 1, 2],
    ]);
    assert.deepEqual(
      batch?.columns.map(({ name, type, json }) => `${name} ${type} ${json}`),
      ["a INTEGER value", "b REAL value", "c TEXT value", "d BLOB value"].concat([
        "e  value",
        "a  value",
        "a  value",
      ]),
    );
  });

  it("says which columns are declared JSON, whatever their values are", async () => {
    execute(path, 'create table docs (a JSON, b jsonb, c "json text", d text)');
    execute(
      path,
      `insert into docs values ('{"a":1.10}', x'00', '{}', '{}'), (5, 'no', 1.5, null)`,
    );
    const [batch] = await read("select *, json(a) from docs where a <> 6");
    assert.deepEqual(batch?.rows[0], ['{"a":1.10}', "\\x00", "{}", "{}", '{"a":1.10}']);
    const forms = batch?.columns.map(({ type, json }) => `${type} ${json}`);
    const plain = ["json text value", "TEXT value", " value"];
    assert.deepEqual(forms, ["JSON jsonValue", "jsonb jsonValue", ...plain]);
  });

  it("warns of texts that may not have been UTF-8", async () => {
    const ctx = testContext();
    const query = "select cast(x'61ff' as text)";
    await collect(sqlite.open({ path, query, params: [], maxRecord: 1000 }, ctx, nothing()));
    assert.match(ctx.warnings.join(), /^1 texts hold U\+FFFD/);
  });

  it("binds parameters, whole numbers as integers", async () => {
    const query = "select typeof(?), typeof(?), ?, typeof(?), ? -- and no more";
    const [batch] = await read(query, [1, 1.5, true, null, "x' or 1"]);
    assert.deepEqual(batch?.rows, [["integer", "real", 1, "null", "x' or 1"]]);
  });

  it("refuses too few and too many parameters", async () => {
    for (const params of [[], ["secret"], ["secret", 2, 3]]) {
      await refuses(read("select ?, ?2", params), /as many params/, "source-refused");
    }
  });

  it("refuses what is not one SELECT", async () => {
    const queries = [
      "secret",
      "select nothing from t",
      "select 1; select 2",
      "-- nothing",
      "attach 'other.db' as other",
      "insert into t values (0, 'secret') returning *",
      "create temp table x (y)",
      "commit",
      "pragma journal_mode = wal",
      "select json_extract('secret', '$')",
    ];
    for (const query of queries) {
      await refuses(read(query), /refuses the query|expected one SELECT/, "source-refused");
    }
    assert.equal(tuplesOf(await read(" /* a */ select 1 ; -- b\n; /* c */")).length, 1);
  });

  it("refuses a value, and a row, larger than maxRecord", async () => {
    await refuses(read("select id, zeroblob(1001) from t", [], 1000), /larger than maxRecord/);
    const row = "select printf('%.*c', 900, 'x'), printf('%.*c', 900, 'y'), zeroblob(900)";
    await refuses(read(row, [], 1000), /row 1: larger than maxRecord/);
  });

  it("tells a missing file, a file of another kind and a damaged one apart", async () => {
    const query = "select * from t";
    const at = (path: string) =>
      collect(sqlite.open({ path, query, params: [], maxRecord: 1000 }, testContext(), nothing()));
    await refuses(at(join(folder, "none.db")), /does not exist/, "input-missing");
    await refuses(at(":memory:"), /does not exist/, "input-missing");
    await refuses(at(folder), /not a regular file/, "source-refused");
    await writeFile(join(folder, "text.db"), "no database ".repeat(1000));
    await refuses(at(join(folder, "text.db")), /not a SQLite database/);
    await truncate(path, 100_000);
    await refuses(at(path), /damaged or not a SQLite database/);
  });

  it("says that a file whose writer was cut off wants a writer first", async () => {
    const writer = new DatabaseSync(path);
    writer.exec("pragma cache_size = 2; begin; update t set note = note || '.'");
    const cut = join(folder, "cut.db");
    await copyFile(path, cut);
    await copyFile(`${path}-journal`, `${cut}-journal`);
    writer.close();
    path = cut;
    const query = "select count(*) from t where note like '%.'";
    await refuses(read(query), /last writer was cut off.* open it once/, "source-refused");
    execute(path, "select count(*) from t");
    assert.deepEqual(tuplesOf(await read(query)), [[0]]);
  });

  it("lets no writer commit while it reads with a rollback journal", async () => {
    const rows = openQuery("select * from t")[Symbol.asyncIterator]();
    await rows.next();
    // Another process: within one process, SQLite knows its own locks even where the file system lost them.
    assert.match(executeElsewhere(path, "insert into t values (0, 'late')"), /locked/);
    assert.equal(await countRest(rows), 30_000);
    assert.equal(executeElsewhere(path, "insert into t values (0, 'later')"), "done");
  });

  it("sees none of what is committed while it reads with a write-ahead log", async () => {
    execute(path, "pragma journal_mode = wal");
    const rows = openQuery("select * from t")[Symbol.asyncIterator]();
    await rows.next();
    execute(path, "insert into t select -value, 'late' from (select value " + numbers(5000) + ")");
    execute(path, "pragma wal_checkpoint(passive)");
    assert.equal(executeElsewhere(path, "update t set note = 'late'"), "done");
    assert.equal(await countRest(rows), 30_000);
    assert.equal(tuplesOf(await read("select * from t where note <> 'late'")).length, 0);
  });

  it("waits for a writer to finish", async () => {
    const writer = new DatabaseSync(path);
    writer.exec("begin exclusive");
    setTimeout(() => {
      writer.exec("commit");
      writer.close();
    }, 150);
    assert.equal(tuplesOf(await read("select * from t")).length, 30_000);
  });

  it("gives up on a lock that is not released, and may be tried again", async () => {
    const writer = new DatabaseSync(path);
    writer.exec("begin exclusive");
    await refuses(read("select * from t"), /locked by a writer; try again/, "source-failed");
    writer.close();
  });

  it("stops waiting for a lock when the run stops", async () => {
    const writer = new DatabaseSync(path);
    writer.exec("begin exclusive");
    const ctx = testContext();
    const reason = new Error("stopped");
    const query = "select * from t";
    const rows = sqlite.open({ path, query, params: [], maxRecord: 1000 }, ctx, nothing());
    setTimeout(() => ctx.controller.abort(reason), 100);
    await assert.rejects(collect(rows), reason);
    writer.close();
  });

  it("fails when somebody writes to the file behind SQLite's locks", async () => {
    const rows = openQuery("select * from t")[Symbol.asyncIterator]();
    await rows.next();
    const file = await open(path, "r+");
    await file.write(Buffer.from([7]), 0, 1, 27);
    await file.close();
    await refuses(countRest(rows), /written to while it was read/, "source-changed");
  });

  it("fails when the file is replaced, whatever the journal", async () => {
    for (const journal of ["delete", "wal"]) {
      execute(path, `pragma journal_mode = ${journal}`);
      await copyFile(path, `${path}.new`);
      const rows = openQuery("select * from t")[Symbol.asyncIterator]();
      await rows.next();
      await rename(`${path}.new`, path);
      await refuses(countRest(rows), /replaced|written to/, "source-changed");
    }
  });
});

function numbers(count: number): string {
  return `from (with recursive n(value) as (select 1 union all select value + 1 from n limit ${count}) select value from n)`;
}

function execute(path: string, sql: string): void {
  const database = new DatabaseSync(path, { timeout: 0 });
  try {
    database.exec(sql);
  } finally {
    database.close();
  }
}

/** Runs SQL in a process of its own; gives `done` or the error. */
function executeElsewhere(path: string, sql: string): string {
  const program = `
    const { DatabaseSync } = require("node:sqlite");
    try {
      new DatabaseSync(process.argv[1], { timeout: 0 }).exec(process.argv[2]);
      process.stdout.write("done");
    } catch (error) {
      process.stdout.write(error.message);
    }`;
  return execFileSync(process.execPath, ["-e", program, path, sql], { encoding: "utf8" });
}

/** Reads on to the end; gives the number of rows the end states. */
async function countRest(rows: AsyncIterator<{ end?: { rows: number } }>): Promise<number> {
  let count = -1;
  for (let next = await rows.next(); !next.done; next = await rows.next()) {
    count = next.value.end?.rows ?? count;
  }
  return count;
}

import assert from "node:assert/strict";
import { run } from "../../../src/pipeline/run.ts";
import { planPipeline } from "../../../src/pipeline/plan.ts";
import { openPostgres } from "../../../src/stages/destinations/postgres.ts";
import { openDestination, probeDestination } from "../../../src/stages/destinations/schemes.ts";
import { serialize } from "../../../src/stages/formats/serialize.ts";
import { chunk } from "../../../src/stages/pages/chunk.ts";
import { compress } from "../../../src/stages/pages/compress.ts";
import { encrypt } from "../../../src/stages/pages/encrypt.ts";
import { spool } from "../../../src/stages/pages/spool.ts";
import { upload } from "../../../src/stages/pages/upload.ts";
import { postgres } from "../../../src/stages/sources/postgres.ts";
import {
  destinationContract,
  expectError,
  listAll,
  objectOf,
  pageOfRows as page,
  readAll,
  withoutPages,
} from "../../contract/destination-contract.ts";
import { countedRows, defineUnchecked, testEnv, useFolder } from "../../fixtures/pipelines.ts";
import { runSql, sharedPostgres } from "../../servers/postgres.ts";

const never = new AbortController().signal;

describe("destination postgres", () => {
  let url: string;
  const folder = useFolder();
  const reset = () =>
    runSql(
      url,
      "drop schema if exists written cascade",
      "create schema written",
      "create table written.keyed (id bigint, part text, value numeric, at timestamptz, list int[], doc jsonb, made int generated always as (1) stored, primary key (id, part))",
      "create table written.plain (id int, text text)",
    );
  const open = (table = "written.plain", key: readonly string[] = []) =>
    openDestination(url, { timeoutMillis: 5000, rows: { table, key } });
  const rowsOf = (table: string, order = "id") =>
    runSql(url, `select row_to_json(t) from written.${table} t order by ${order}`).then((rows) =>
      rows.map(([row]) => JSON.parse(row!) as Record<string, unknown>),
    );

  before(async () => {
    ({ url } = await sharedPostgres());
  });
  beforeEach(reset);
  after(() => runSql(url, "drop schema if exists written cascade"));

  describe("keeps what every destination promises, of what is no page", () =>
    destinationContract(
      async () => withoutPages(await open()),
      async () => void (await reset()),
    ));

  it("appends the records of a page, and keeps what is no page to give it back", async () => {
    const destination = await open();
    await destination.put(page(0, { id: 1, text: 'Größe "1"\\n' }, { id: 2, text: null }), never);
    await destination.put(page(1, { id: 3 }), never);
    await destination.put(objectOf("p/r/manifest.json", "{}"), never);
    assert.deepEqual(await rowsOf("plain"), [
      { id: 1, text: 'Größe "1"\\n' },
      { id: 2, text: null },
      { id: 3, text: null },
    ]);
    assert.equal((await readAll(destination, "p/r/manifest.json")).toString(), "{}");
    assert.deepEqual(
      (await listAll(destination, "p/r")).map(({ name }) => name),
      ["p/r/00000000.ndjson", "p/r/00000001.ndjson", "p/r/manifest.json"],
    );
    assert.deepEqual(await listAll(destination, "p/other"), []);
    await expectError("not-found", readAll(destination, "p/r/nothing"));
    await expectError("destination-refused", readAll(destination, "p/r/00000000.ndjson"));
    await destination.close();
  });

  it("replaces rows with the same key, the last one of a page and of the pages", async () => {
    const destination = await open("written.keyed", ["part", "id"]);
    const row = {
      id: 1,
      part: "a",
      value: 1,
      at: "2024-01-01T00:00:00.000001+00:00",
      list: [1, 2],
    };
    await destination.put(page(0, row, { ...row, value: 2.5 }, { ...row, part: "b" }), never);
    await destination.put(page(1, { ...row, value: 3, doc: { x: [1] } }), never);
    assert.deepEqual(await rowsOf("keyed", "part"), [
      { ...row, value: 3, doc: { x: [1] }, made: 1 },
      { ...row, part: "b", doc: null, made: 1 },
    ]);
    await destination.close();
  });

  it("reads records that name the same columns each in its own way", async () => {
    const all = '{"id":1,"text":"a"}\n{ "text" : "b", "id" : 2 }\n\n{"\\u0069d":3,"text":null}\n';
    const destination = await open();
    await destination.put(objectOf("p/r/00000000.ndjson", all), never);
    assert.deepEqual(await rowsOf("plain"), [
      { id: 1, text: "a" },
      { id: 2, text: "b" },
      { id: 3, text: null },
    ]);
    await destination.close();
  });

  it("writes a page once, however often it is put, and by however many at once", async () => {
    const first = await open();
    const object = page(0, { id: 1, text: "a" });
    const others = await Promise.all(Array.from({ length: 4 }, () => open()));
    await Promise.all([first, ...others].map((one) => one.put(object, never)));
    await first.put(object, never);
    assert.equal((await rowsOf("plain")).length, 1);
    const changed = page(0, { id: 1, text: "b" });
    const error = await expectError("foreign-object", first.put(changed, never));
    assert.match(error.message, /nothing was overwritten/);
    assert.equal((await rowsOf("plain"))[0]?.["text"], "a");
    await Promise.all([first, ...others].map((one) => one.close()));
  });

  it("refuses what does not fit, writes nothing of the page, and tells no value", async () => {
    const destination = await open("written.keyed", ["id", "part"]);
    const good = { id: 1, part: "a", value: null };
    const refusals: [readonly object[], RegExp][] = [
      [[good, { ...good, value: "canary" }], /SQLSTATE 22P02/],
      [[{ ...good, canary: 1 }], /1 columns that written.keyed has not; expected some of id, part/],
      [[{ id: 1 }], /1 records have no value for their key/],
      [[good, { ...good, part: null }], /1 records have no value for their key/],
      [[{ ...good, part: "\u0000" }], /SQLSTATE 22P05/],
      // What a record leaves out must not depend on its neighbours.
      [[good, { id: 2, part: "b" }], /name different columns, or none/],
      [[{}], /name different columns, or none/],
    ];
    for (const [records, message] of refusals) {
      const error = await expectError(
        "destination-refused",
        destination.put(page(0, ...records), never),
      );
      assert.match(error.message, message);
      assert.doesNotMatch(error.message, /canary/);
      assert.deepEqual(await rowsOf("keyed"), []);
      assert.deepEqual(await listAll(destination), []);
    }
    const twice = objectOf("p/r/00000000.ndjson", '{"id":1,"part":"a","id":2}\n');
    await expectError("destination-refused", destination.put(twice, never));
    await runSql(
      url,
      "create function written.skip() returns trigger language plpgsql as 'begin return null; end'",
      "create trigger skip before insert on written.keyed for each row execute function written.skip()",
    );
    const kept = await expectError("destination-refused", destination.put(page(0, good), never));
    assert.match(kept.message, /the table kept 0 of 1 rows/);
    const half = objectOf("p/r/00000000.ndjson", '{"id":1');
    assert.match(
      (await expectError("destination-refused", destination.put(half, never))).message,
      /longer than a page/,
    );
    const sealed = objectOf("p/r/00000000.ndjson.zst.age", "x");
    await expectError("destination-refused", destination.put(sealed, never));
    await destination.close();
  });

  it("refuses a table that is not there or does not last, and a key that is not unique", async () => {
    await runSql(
      url,
      "create unlogged table written.unlogged (id int)",
      "create view written.seen as select * from written.plain",
      "create table written.parts (id int) partition by range (id)",
      "create unlogged table written.part partition of written.parts for values from (0) to (9)",
      "create table written.late (id int, unique (id) deferrable initially deferred)",
    );
    for (const [table, key] of [
      ["written.nobody", []],
      ["written.unlogged", []],
      ["written.seen", []],
      ["written.parts", []],
      ["written.plain", ["id"]],
      ["written.keyed", ["id"]],
      ["written.late", ["id"]],
    ] as const) {
      const destination = await open(table, key);
      await expectError("destination-refused", destination.put(page(0, { id: 1 }), never));
      await destination.close();
    }
    await assert.rejects(openPostgres(new URL(url), { timeoutMillis: 1000 }), /needs `table`/);
  });

  it("writes tables of any name, numbered and computed columns, domains and partitions", async () => {
    await runSql(
      url,
      "create domain written.code as text not null",
      `create table written."date" (id int generated always as identity primary key, "Ä ""b" written.code default 'x', twice int generated always as (id * 2) stored)`,
      "create table written.parts (id int primary key, v text) partition by hash (id)",
      "create table written.part partition of written.parts for values with (modulus 1, remainder 0)",
    );
    const dated = await open(`written."date"`, ["id"]);
    await dated.put(page(0, { id: 7, 'Ä "b': "c", twice: 1 }), never);
    await dated.put(page(1, { id: 7 }, { id: 8 }), never);
    assert.deepEqual(await rowsOf('"date"'), [
      { id: 7, 'Ä "b': "c", twice: 14 },
      { id: 8, 'Ä "b': "x", twice: 16 },
    ]);
    await dated.close();
    const parts = await open("written.parts", ["id"]);
    await parts.put(page(0, { id: 1, v: "a" }), never);
    await parts.put(page(1, { id: 1, v: "b" }), never);
    assert.deepEqual(await rowsOf("parts"), [{ id: 1, v: "b" }]);
    await parts.close();
  });

  it("writes the same page into another table, and again into one made anew, but says when one was emptied", async () => {
    await runSql(url, "create table written.other (like written.plain)");
    const object = page(0, { id: 1, text: "a" });
    for (const table of ["written.plain", "written.other"]) {
      const destination = await open(table);
      await destination.put(object, never);
      await destination.close();
    }
    assert.deepEqual(await rowsOf("other"), await rowsOf("plain"));
    await runSql(
      url,
      "drop table written.other",
      "create table written.other (like written.plain)",
      "truncate written.plain",
    );
    const again = await open("written.other");
    await again.put(object, never);
    await again.close();
    assert.equal((await rowsOf("other")).length, 1);
    const emptied = await open();
    const error = await expectError("destination-refused", emptied.put(object, never));
    assert.match(error.message, /which is empty now; to write it again, delete its notes/);
    await emptied.close();
  });

  it("refuses to append beside the rows of a run that was begun anew", async () => {
    const begun = await open();
    await begun.put(page(0, { id: 1 }), never);
    const anew = (run: string) => objectOf(`p/${run}/00000000.ndjson`, '{"id":1}\n');
    const error = await expectError("destination-refused", begun.put(anew("s"), never));
    assert.match(error.message, /rows of the unfinished run r lie in written.plain/);
    assert.equal((await rowsOf("plain")).length, 1);
    await begun.put(objectOf("p/r/manifest.json", "{}"), never);
    await begun.put(anew("s"), never);
    assert.equal((await rowsOf("plain")).length, 2);
    await begun.close();
  });

  it("waits for the disk of the server, whatever the database says", async () => {
    const user =
      "create role written_lax login superuser; alter role written_lax set synchronous_commit = off";
    await runSql(url, "drop role if exists written_lax", ...user.split("; "));
    const lax = new URL(url);
    lax.username = "written_lax";
    await runSql(
      url,
      "create function written.look() returns trigger language plpgsql as $$ begin new.text = current_setting('synchronous_commit'); return new; end $$",
      "create trigger look before insert on written.plain for each row execute function written.look()",
    );
    const destination = await openDestination(lax.href, {
      timeoutMillis: 5000,
      rows: { table: "written.plain", key: [] },
    });
    await destination.put(page(0, { id: 1 }), never);
    assert.deepEqual(await rowsOf("plain"), [{ id: 1, text: "on" }]);
    await destination.close();
    await runSql(url, "drop owned by written_lax cascade", "drop role written_lax");
  });

  it("says when its notes' name is taken", async () => {
    await runSql(url, "create table written.spillway_objects (name text)");
    const destination = await open();
    const error = await expectError(
      "destination-refused",
      destination.put(page(0, { id: 1 }), never),
    );
    assert.match(error.message, /written.spillway_objects is not ours \(it lacks target, bytes/);
    await destination.close();
  });

  it("goes on after its connection is ended, and commits each page once", async () => {
    const destination = await open();
    await destination.put(page(0, { id: 0 }), never);
    await runSql(
      url,
      "select pg_terminate_backend(pid) from pg_stat_activity where application_name = 'spillway' and pid <> pg_backend_pid()",
    );
    await destination.put(page(1, { id: 1 }), never);
    await destination.put(page(0, { id: 0 }), never);
    assert.deepEqual(
      (await rowsOf("plain")).map(({ id }) => id),
      [0, 1],
    );
    assert.doesNotMatch(destination.url, /@|password/);
    await destination.close();
  });

  const pipeline = (
    source: ReturnType<typeof countedRows>,
    more: object,
    sealing: object = { mode: "none" },
  ) =>
    defineUnchecked({
      name: "back",
      memory: "512MiB",
      sign: "${env:SIGN_KEY}",
      stages: [
        source,
        serialize("ndjson"),
        chunk({ size: "1MiB", records: 100 }),
        compress("none"),
        encrypt(sealing as { mode: "none" }),
        spool({ dir: folder.next(), maxBytes: "1GiB" }),
        upload({ to: url, ...more }),
      ],
    });

  it("takes a whole run: rows, manifest and all, and the same rows again", async () => {
    await runSql(
      url,
      "create table written.obs as select g::bigint as id, 'x' || g as text, g / 7.0 as value from generate_series(1, 2000) g",
      "create table written.copy (like written.obs, primary key (id))",
    );
    const read = () => postgres({ url, query: "select * from written.obs order by id" }) as never;
    const more = { table: "written.copy", key: ["id"] };
    const summary = await run(pipeline(read(), more), { env: testEnv });
    assert.equal(summary.state, "committed");
    assert.equal(summary.pages, 20);
    assert.match(summary.destination, /^postgres:\/\/[^@]+\/written\.copy\/back\//);
    const differences = "select count(*) from (table written.obs except table written.copy) d";
    assert.deepEqual(await runSql(url, differences), [["0"]]);
    await runSql(url, "update written.obs set value = 0 where id % 2 = 0");
    await run(pipeline(read(), more), { env: testEnv });
    assert.deepEqual(await runSql(url, differences), [["0"]]);
    assert.deepEqual(await runSql(url, "select count(*) from written.copy"), [["2000"]]);
  });

  it("is refused by the plan where a table could not read the pages", async () => {
    const source = countedRows({ rows: 1 });
    const to = "age1yeznxjjp7n4hz27d4gkwad7wrdulpfxm64f62ac5nc07npm84cgq3tzux6";
    for (const bad of [pipeline(source, { table: "t" }, { to }), pipeline(source, {})]) {
      await assert.rejects(planPipeline(bad, { resolve: "none", env: testEnv }), {
        code: "config-invalid",
        message:
          /writes rows; expected `serialize: ndjson`, `compress: none`, `encrypt: none` and its `table`/,
      });
    }
  });

  it("is looked at by doctor", async () => {
    const look = async (table: string, key: readonly string[], to = url) =>
      Array.fromAsync(
        probeDestination(to, {
          timeoutMillis: 5000,
          rows: { table, key },
          folder: "p",
          signal: never,
        }),
      );
    assert.deepEqual(
      (await look("written.keyed", ["id", "part"])).map(({ level, found }) => [level, found]),
      [["ok", "written.keyed, rows replaced by id, part"]],
    );
    await assert.rejects(look("written.nobody", []), /there is no table/);
    await assert.rejects(look("written.keyed", [], "postgres://u@127.0.0.1:1/d"), {
      code: "destination-unreachable",
      message: /host and port of `to`$/,
    });
    await runSql(
      url,
      "drop role if exists written_few",
      "create role written_few login",
      "grant usage on schema written to written_few",
      "grant insert on written.keyed to written_few",
    );
    const few = new URL(url);
    few.username = "written_few";
    const found = await look("written.keyed", ["id", "part"], few.href);
    assert.deepEqual(
      found.map(({ level, check, found }) => [level, check, found]),
      [
        ["ok", "table", "written.keyed, rows replaced by id, part"],
        ["fail", "rights", "this user may not update, select in written.keyed"],
        [
          "fail",
          "notes",
          "this user may neither make nor fill written.spillway_objects, where pages are noted",
        ],
      ],
    );
    await runSql(url, "drop owned by written_few", "drop role written_few");
  });
});

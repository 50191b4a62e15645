import assert from "node:assert/strict";
import { mkdir, readdir, symlink, writeFile } from "node:fs/promises";
import { dirname } from "node:path";
import type { Destination } from "../../../src/stages/destinations/destination.ts";
import { openDestination, probeDestination } from "../../../src/stages/destinations/schemes.ts";
import { openSqlite } from "../../../src/stages/destinations/sqlite.ts";
import {
  destinationContract,
  expectError,
  listAll,
  objectOf,
  pageOfLines,
  pageOfRows as page,
  readAll,
  withoutPages,
} from "../../contract/destination-contract.ts";
import { useFolder } from "../../fixtures/pipelines.ts";
import { askFile, changeFile } from "../../fixtures/sqlite-file.ts";

const never = new AbortController().signal;

describe("destination sqlite", () => {
  const folder = useFolder();
  let path: string;
  let opened: Destination[] = [];

  const change = (...statements: readonly string[]) => changeFile(path, ...statements);
  const ask = (query: string) => askFile(path, query, { bigints: true });
  const open = async (table = "plain", key: readonly string[] = [], timeoutMillis = 5000) => {
    const options = { timeoutMillis, rows: { table, key } };
    const destination = await openDestination(`sqlite:${path}`, options);
    opened.push(destination);
    return destination;
  };
  const refuses = async (destination: Destination, object: ReturnType<typeof page>) => {
    const error = await expectError("destination-refused", destination.put(object, never));
    assert.doesNotMatch(error.message, /canary/);
    return error.message;
  };

  beforeEach(async () => {
    const place = folder.next();
    await mkdir(place, { recursive: true });
    path = `${place}/a b#?%41.db`;
    change(
      "create table plain (id integer, text text)",
      "create table keyed (id bigint, part text, value numeric, doc json, made int generated always as (id * 2), primary key (id, part))",
    );
  });
  afterEach(async () => {
    await Promise.all(opened.map((one) => one.close()));
    opened = [];
  });

  describe("keeps what every destination promises, of what is no page", () => {
    let shared: string | undefined;
    destinationContract(
      async () => {
        path = shared ??= path;
        const options = { timeoutMillis: 5000, rows: { table: "plain", key: [] } };
        return withoutPages(await openDestination(`sqlite:${path}`, options));
      },
      async () => {
        shared = undefined;
      },
    );
  });

  it("appends the records of a page, and keeps what is no page to give it back", async () => {
    const destination = await open();
    await destination.put(
      page(0, { id: 1, text: 'Größe "1"\\n\u0000🙂' }, { id: 2, text: null }),
      never,
    );
    await destination.put(page(1, { id: 3 }), never);
    await destination.put(page(2), never);
    await destination.put(objectOf("p/r/manifest.json", "{}"), never);
    assert.deepEqual(ask("select * from plain"), [
      { id: 1n, text: 'Größe "1"\\n\u0000🙂' },
      { id: 2n, text: null },
      { id: 3n, text: null },
    ]);
    assert.equal((await readAll(destination, "p/r/manifest.json")).toString(), "{}");
    assert.deepEqual(
      (await listAll(destination, "p/r")).map(({ name }) => name),
      [0, 1, 2].map((at) => `p/r/0000000${at}.ndjson`).concat("p/r/manifest.json"),
    );
    await expectError("not-found", readAll(destination, "p/r/nothing"));
    await expectError("destination-refused", readAll(destination, "p/r/00000000.ndjson"));
  });

  it("lists more names than it looks up at once", async () => {
    const destination = await open();
    await destination.put(objectOf("p/r/manifest.json", "{}"), never);
    change(
      "insert into spillway_objects (name, target, bytes, sha256) with recursive g(n) as (select 0 union all select n + 1 from g where n < 2499) select printf('p/s/%08d.ndjson', n), 'plain', n, x'00' from g",
    );
    const listed = await listAll(destination, "p/s");
    assert.deepEqual(
      listed.map(({ bytes }) => bytes),
      Array.from({ length: 2500 }, (_, at) => at),
    );
    assert.equal((await listAll(destination)).length, 2501);
  });

  it("replaces rows with the same key, the last one of a page and of the pages", async () => {
    const destination = await open("keyed", ["part", "id"]);
    const row = { id: 1, part: "a", value: 1, doc: null };
    await destination.put(page(0, row, { ...row, value: 2.5 }, { ...row, part: "b" }), never);
    await destination.put(
      pageOfLines(
        1,
        '{"part":"a","id":1,"doc":{"x":[1.50,{}]},"value":3}',
        '{ "value" : 4 ,"d\\u006fc":"\\ud800","id":9,"part":"c" }\r',
      ),
      never,
    );
    assert.deepEqual(ask("select * from keyed order by part"), [
      { id: 1n, part: "a", value: 3n, doc: '{"x":[1.50,{}]}', made: 2n },
      { id: 1n, part: "b", value: 1n, doc: null, made: 2n },
      { id: 9n, part: "c", value: 4n, doc: '"\\ud800"', made: 18n },
    ]);
  });

  it("leaves rows alone that are nothing but their key, and replaces by any whole unique index", async () => {
    change(
      "create table ids (id integer primary key)",
      "create table indexed (id integer, code text collate nocase, note text)",
      "create unique index codes on indexed (code)",
    );
    const ids = await open("ids", ["id"]);
    await ids.put(page(0, { id: 1 }, { id: 2 }, { id: 1 }), never);
    await ids.put(page(1, { id: 2 }, { id: 3 }), never);
    assert.deepEqual(ask("select id from ids"), [{ id: 1n }, { id: 2n }, { id: 3n }]);
    const indexed = await open("INDEXED", ["code"]);
    await indexed.put(page(0, { code: "a", note: "1" }, { code: "A", note: "2" }), never);
    assert.deepEqual(ask("select code, note from indexed"), [{ code: "a", note: "2" }]);
    assert.equal((await listAll(indexed)).length, 1);
  });

  it("writes a page once, however often it is put, and by however many at once", async () => {
    const object = page(0, { id: 1, text: "a" });
    const several = await Promise.all(Array.from({ length: 4 }, () => open()));
    await Promise.all(several.map((one) => one.put(object, never)));
    await several[0]!.put(object, never);
    assert.equal(ask("select * from plain").length, 1);
    const changed = several[1]!.put(page(0, { id: 1, text: "b" }), never);
    assert.match((await expectError("foreign-object", changed)).message, /nothing was overwritten/);
    assert.deepEqual(ask("select text from plain"), [{ text: "a" }]);
  });

  it("refuses what does not fit, writes nothing of the page, and tells no value", async () => {
    change("create table strict (id integer primary key, at int check (at > 0)) strict");
    const good = '{"id":1,"part":"a","value":null}';
    const refusals: [readonly string[], RegExp][] = [
      [
        ['{"id":1,"part":"a","canary":1}'],
        /1 columns that keyed has not; expected some of id, part/,
      ],
      [['{"id":1}'], /no value for its key \(id, part\)/],
      [[good, '{"id":1,"part":null,"value":1}'], /no value for its key/],
      [[good, '{"id":2,"part":"b"}'], /name different columns, or none/],
      [[good, '{"id":2,"part":"b","doc":1}'], /name different columns, or none/],
      [["{}"], /name different columns, or none/],
      [['{"id":1,"part":"a","id":2}'], /name a column twice/],
      [[good, '{"id":1,"part":"a","id":2}'], /name a column twice/],
      [[good, '{"id":1,"part":"canary'], /no JSON object/],
      [['["canary"]'], /no JSON object/],
      [['{"id":1,"part":"a"}{"canary":1}'], /no JSON object/],
    ];
    const destination = await open("keyed", ["id", "part"]);
    for (const [lines, message] of refusals) {
      assert.match(await refuses(destination, pageOfLines(0, ...lines)), message);
      assert.deepEqual(ask("select * from keyed"), []);
      assert.deepEqual(await listAll(destination), []);
    }
    assert.match(
      await refuses(destination, objectOf("p/r/00000000.ndjson", '{"id":1')),
      /longer than a page/,
    );
    await refuses(destination, objectOf("p/r/00000000.ndjson.zst.age", "x"));
    await refuses(destination, objectOf("p/r/00000000.ndjson", Buffer.from("{\xff}\n", "latin1")));
    const strict = await open("strict");
    for (const row of [
      { id: 1, at: "canary" },
      { id: 1, at: 0 },
    ])
      assert.match(await refuses(strict, page(0, row)), /SQLite code \d+\) refused the rows/);
  });

  it("loses no row to a trigger or to what the table would rather ignore", async () => {
    change(
      "create trigger skip before insert on plain when new.id = 2 begin select raise(ignore); end",
      "create table lax (id integer unique on conflict ignore, text text unique on conflict replace)",
    );
    const plain = await open();
    assert.match(await refuses(plain, page(0, { id: 1 }, { id: 2 })), /kept 1 of 2 rows/);
    const lax = await open("lax");
    for (const second of [
      { id: 1, text: "b" },
      { id: 2, text: "a" },
    ])
      await refuses(lax, page(0, { id: 1, text: "a" }, second));
    assert.deepEqual(ask("select * from plain union all select * from lax"), []);
  });

  it("refuses what is no database, no ordinary table, and a key that is not unique", async () => {
    change(
      "create view seen as select * from plain",
      "create virtual table found using fts5(text)",
      "create unique index part on plain (id) where id > 5",
      "create unique index twice on plain (lower(text))",
    );
    for (const [table, key, message] of [
      ["nobody", [], /there is no table "nobody"/],
      ["seen", [], /a view or a virtual table/],
      ["found", [], /a view or a virtual table/],
      ["plain", ["id"], /no unique index on exactly "id"/],
      ["plain", ["text"], /no unique index/],
      ["keyed", ["id"], /no unique index/],
      ["keyed", ["id", "id"], /no unique index/],
    ] as const) {
      assert.match(await refuses(await open(table, key), page(0, { id: 1 })), message);
    }
    await assert.rejects(openSqlite(new URL("sqlite:///x"), { timeoutMillis: 1 }), /needs `table`/);
    const there = path;
    path = `${there}.missing`;
    assert.match(await refuses(await open(), page(0, { id: 1 })), /there is no file/);
    assert(!(await readdir(dirname(path))).includes(`${there}.missing`));
    await writeFile(path, "this is no database at all".repeat(100));
    assert.match(await refuses(await open(), page(0, { id: 1 })), /not a SQLite database/);
    path = dirname(there);
    assert.match(await refuses(await open(), page(0, { id: 1 })), /there is no file/);
    path = `${there}.link`;
    await symlink(there, path);
    await (await open()).put(page(0, { id: 1 }), never);
  });

  it("says when its notes' name is taken, or a table was emptied behind them", async () => {
    const destination = await open();
    await destination.put(page(0, { id: 1 }), never);
    change("delete from plain");
    assert.match(
      await refuses(destination, page(0, { id: 1 })),
      /which is empty now; to write it again, delete its notes/,
    );
    change("drop table spillway_objects", "create table spillway_objects (name text)");
    assert.match(
      await refuses(destination, page(0, { id: 1 })),
      /spillway_objects is not ours \(it lacks target, bytes, sha256, content\)/,
    );
    change(
      "drop table spillway_objects",
      "create table spillway_objects (name, target, bytes, sha256, content)",
    );
    assert.match(
      await refuses(destination, page(0, { id: 1 })),
      /spillway_objects has no unique index on name, target/,
    );
  });

  it("refuses to append beside the rows of a run that was begun anew", async () => {
    const begun = await open();
    await begun.put(page(0, { id: 1 }), never);
    const anew = objectOf("p/s/00000000.ndjson", '{"id":1}\n');
    assert.match(await refuses(begun, anew), /rows of the unfinished run r lie in plain/);
    await begun.put(page(1, { id: 2 }), never);
    await (await open()).put(objectOf("other/s/00000000.ndjson", '{"id":3}\n'), never);
    await begun.put(objectOf("p/r/manifest.json", "{}"), never);
    await begun.put(anew, never);
    assert.equal(ask("select * from plain").length, 4);
  });

  for (const mode of ["delete", "wal"]) {
    it(`commits to the disk with the journal ${mode}, and leaves that as it was`, async () => {
      change(
        `pragma journal_mode = ${mode}`,
        "create trigger look after insert on plain begin update plain set text = (select synchronous from pragma_synchronous) where id = new.id; end",
      );
      const destination = await open();
      await destination.put(page(0, { id: 1 }), never);
      await destination.close();
      assert.deepEqual(ask("pragma journal_mode"), [{ journal_mode: mode }]);
      // 3 is EXTRA.
      assert.deepEqual(ask("select * from plain"), [{ id: 1n, text: "3" }]);
    });
  }

  it("is looked at by doctor, which leaves the file as it was", async () => {
    const look = (table: string, key: readonly string[] = []) =>
      Array.fromAsync(
        probeDestination(`sqlite:${path}`, {
          timeoutMillis: 100,
          rows: { table, key },
          folder: "p",
          signal: never,
        }),
        ({ level, check, found }) => [level, check, found],
      );
    const before = ask("select * from sqlite_schema");
    assert.deepEqual(await look("keyed", ["id", "part"]), [
      ["ok", "table", "keyed, rows replaced by id, part"],
      ["ok", "rights", `${path} can be written`],
    ]);
    assert.deepEqual(ask("select * from sqlite_schema"), before);
    assert.deepEqual(await look("nobody"), [["fail", "table", 'there is no table "nobody"']]);
  });
});

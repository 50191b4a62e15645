import assert from "node:assert/strict";
import { writeFile } from "node:fs/promises";
import { join } from "node:path";
import { DatabaseSync } from "node:sqlite";
import { PipelineError, type ErrorCode } from "../../src/errors.ts";
import { run } from "../../src/pipeline/run.ts";
import { restoreExport } from "../../src/readback/restore.ts";
import { duckdb } from "../../src/stages/sources/duckdb.ts";
import { sqlite } from "../../src/stages/sources/sqlite.ts";
import { openDesk } from "../cli/spawn-cli.ts";
import { askFile, changeFile } from "../fixtures/sqlite-file.ts";
import { createKey } from "../fixtures/keys.ts";
import {
  makeExport,
  ndjsonPages,
  type MakeOptions,
  type PlainPage,
} from "../fixtures/make-export.ts";
import { countedRows, makePipeline, testEnv, useFolder } from "../fixtures/pipelines.ts";
import { runSql, sharedPostgres } from "../servers/postgres.ts";

const failsWith = (code: ErrorCode) => (error: unknown) =>
  error instanceof PipelineError && error.code === code;

const restoredBefore = (run: string, table: string) => (error: unknown) =>
  error instanceof PipelineError &&
  error.code === "destination-refused" &&
  error.message.includes(`run ${run} was restored into ${table} already; nothing was written`) &&
  error.message.includes(`a name that begins with restored/${run}/`);

/** One that lies on three pages. */
const longRecord: readonly PlainPage[] = [
  { content: '{"id":200,"na', records: 0, span: "first" },
  { content: 'me":"tw', records: 0, span: "middle" },
  { content: 'o"}\n', records: 1, span: "last" },
];

describe("restore to a table", () => {
  const folder = useFolder();
  let url: string;
  let identity: string;
  let recipient: string;
  before(async () => {
    ({ url } = await sharedPostgres());
    ({ identity, recipient } = await createKey());
  });
  beforeEach(() =>
    runSql(
      url,
      "drop schema if exists restored_test cascade",
      "create schema restored_test",
      "create table restored_test.people (id bigint primary key, name text)",
    ),
  );
  after(() => runSql(url, "drop schema if exists restored_test cascade"));

  const make = (pages: readonly PlainPage[] = ndjsonPages(300, 100), options: MakeOptions = {}) =>
    makeExport(folder.next(), pages, { encrypt: { to: [recipient] }, ...options });
  const table = () => ({ url, table: "restored_test.people", key: ["id"] });
  const counts = () =>
    runSql(url, "select count(*), min(id), max(id), max(name) from restored_test.people");

  it("writes every record, once, and says that a run is there already until its notes are gone", async () => {
    const { folder: from } = await make();
    const summary = await restoreExport(from, { identity, to: table() });
    const { records, file, pagesBefore, run } = summary;
    assert.deepEqual([records, file, pagesBefore], [300, null, 0]);
    assert.deepEqual(await counts(), [["300", "0", "299", "Zoë 99"]]);
    await runSql(
      url,
      "delete from restored_test.people where id < 250",
      "update restored_test.people set name = 'changed since'",
    );
    const again = () => restoreExport(from, { identity, to: table() });
    await assert.rejects(again, restoredBefore(run, "restored_test.people"));
    assert.deepEqual(await counts(), [["50", "250", "299", "changed since"]]);
    // As docs/rows.md says.
    await runSql(
      url,
      `delete from restored_test.spillway_objects where name like 'restored/${run}/%' and target in ('restored_test.people'::regclass, 0)`,
    );
    assert.equal((await again()).pagesBefore, 0);
    assert.deepEqual(await counts(), [["300", "0", "299", "Zoë 99"]]);
  });

  it("says the same of a SQLite file, with a record over many pages, and goes on where notes of the end are missing", async () => {
    const file = join(folder.path, "again.db");
    changeFile(file, "create table a (id int, name text)", "create table b (id int, name text)");
    const to = (table: string) => ({ url: `sqlite:${file}`, table });
    const count = (table: string) => askFile(file, `select count(*) n from ${table}`);
    const { folder: from } = await make([...ndjsonPages(200, 100), ...longRecord]);
    const { run } = await restoreExport(from, { identity, to: to("a") });
    const again = (table: string) => restoreExport(from, { identity, to: to(table) });
    changeFile(file, "delete from a where id < 100");
    await assert.rejects(again("a"), restoredBefore(run, "a"));
    assert.deepEqual(count("a"), [{ n: 101 }]);
    // Another table in the same file has had nothing yet, then its first page alone, though the end is noted.
    assert.equal((await again("b")).pagesBefore, 0);
    changeFile(
      file,
      `delete from spillway_objects where target = 'b' and name > 'restored/${run}/00000001'`,
      "delete from b where id >= 100",
    );
    assert.equal((await again("b")).pagesBefore, 1);
    assert.deepEqual(count("b"), [{ n: 201 }]);
    // Killed when all was there but the note that says so: nothing is left to write, and that is said.
    changeFile(file, "delete from spillway_objects where name like '%/manifest.json'");
    const last = await again("b");
    assert.deepEqual([last.pages, last.pagesBefore], [5, 5]);
    await assert.rejects(again("b"), restoredBefore(run, "b"));
    changeFile(
      file,
      `delete from spillway_objects where name like 'restored/${run}/%' and target in ('a', '')`,
      "delete from a",
    );
    await again("a");
    assert.deepEqual([...count("a"), ...count("b")], [{ n: 201 }, { n: 201 }]);
  });

  it("goes on after it was stopped, and appends nothing twice", async () => {
    await runSql(url, "alter table restored_test.people drop constraint people_pkey");
    const to = { url, table: "restored_test.people" };
    const { folder: from } = await make();
    const stop = new AbortController();
    const stopped = restoreExport(from, {
      identity,
      to,
      signal: stop.signal,
      onProgress: ({ pages }) => {
        if (pages === 2) stop.abort(new Error("stop"));
      },
    });
    await assert.rejects(stopped);
    assert.equal((await counts())[0]?.[0], "200");
    const { pages, pagesBefore } = await restoreExport(from, { identity, to });
    assert.deepEqual([pages, pagesBefore], [3, 2]);
    assert.deepEqual(await counts(), [["300", "0", "299", "Zoë 99"]]);
  });

  it("puts a record that spans pages together again", async () => {
    const pages: PlainPage[] = [{ content: '{"id":1,"name":"one"}\n', records: 1 }, ...longRecord];
    const { folder: from } = await make(pages);
    await restoreExport(from, { identity, to: table() });
    assert.deepEqual(await runSql(url, "select id, name from restored_test.people order by id"), [
      ["1", "one"],
      ["200", "two"],
    ]);
  });

  it("writes nothing of a damaged page, and refuses what is neither NDJSON nor CSV", async () => {
    const made = await make();
    await writeFile(join(made.folder, made.names[1]!), "damage");
    await assert.rejects(
      restoreExport(made.folder, { identity, to: table() }),
      failsWith("integrity-failed"),
    );
    assert.deepEqual(
      await runSql(url, "select count(*) from restored_test.people where id >= 100"),
      [["0"]],
    );
    const json = await make([{ content: '[\n{"id":1}\n]\n', records: 1 }], { extension: "json" });
    await assert.rejects(
      restoreExport(json.folder, { identity, to: table() }),
      failsWith("config-invalid"),
    );
  });

  it("takes nested values of CSV for what they are, whatever their source called them", async () => {
    await runSql(
      url,
      "create table restored_test.nested (id int primary key, tags jsonb, list int[], doc jsonb, note text)",
    );
    const local = new DatabaseSync(join(folder.path, "nested.db"));
    local.exec(
      "create table nested (id integer primary key, tags json, list json, doc json, note)",
    );
    const query = `select * from (values
      (1, ['a', 'b'], [1, null], {'x': 1.50}, '{"a": 1}'), (2, [], null, {'x': null}, null)) t (id, tags, list, doc, note)`;
    const documents = [{ id: 3, tags: { k: [1] }, list: [5], doc: {}, note: ["n"] }];
    const sources = [duckdb({ query }), countedRows({ rows: 1, row: () => documents[0]! })];
    for (const source of sources) {
      const to = folder.next();
      const pipeline = makePipeline({ source, format: "csv", dir: folder.next(), to });
      await run(pipeline, { env: testEnv });
      await restoreExport(to, { to: { url, table: "restored_test.nested" } });
      await restoreExport(to, {
        to: { url: `sqlite:${join(folder.path, "nested.db")}`, table: "nested" },
      });
    }
    const kinds = "jsonb_typeof(tags), tags, list, jsonb_typeof(doc), doc";
    assert.deepEqual(
      await runSql(url, `select ${kinds}, note from restored_test.nested order by id`),
      [
        ["array", '["a", "b"]', "{1,NULL}", "object", '{"x": 1.50}', '{"a": 1}'],
        ["array", "[]", null, "object", '{"x": null}', null],
        ["object", '{"k": [1]}', "{5}", "object", "{}", '["n"]'],
      ],
    );
    const read = local.prepare("select json_type(tags) t, json_type(doc) d, note from nested");
    assert.deepEqual(
      read.all().map((row) => ({ ...row })),
      [
        { t: "array", d: "object", note: '{"a": 1}' },
        { t: "array", d: "object", note: null },
        { t: "object", d: "object", note: '["n"]' },
      ],
    );
    local.close();
  });

  for (const format of ["ndjson", "csv"] as const)
    it(`gives JSON that SQLite kept back as JSON, by ${format}, and what is none as a string of it`, async () => {
      await runSql(url, "create table restored_test.docs (id int primary key, doc jsonb)");
      const [from, to] = [folder.next(), folder.next()];
      const [source, target] = [`${from}.db`, `${to}.db`];
      const create = "create table docs (id integer primary key, doc JSON)";
      const values = ['{"a":1.10}', '["b"]', '"b"', "{a:1}"].map(
        (text, id) => `(${id}, '${text}')`,
      );
      const others = ["(4, 1.5)", "(5, null)", "(6, x'00ff')"];
      changeFile(source, create, `insert into docs values ${[...values, ...others].join(", ")}`);
      changeFile(target, create);
      const read = sqlite({ path: source, query: "select * from docs" });
      await run(makePipeline({ source: read, format, dir: folder.next(), to }), { env: testEnv });
      await restoreExport(to, { to: { url, table: "restored_test.docs" } });
      await restoreExport(to, { to: { url: `sqlite:${target}`, table: "docs" } });
      const texts = ['{"a": 1.10}', '["b"]', '"b"', '"{a:1}"', "1.5", null, '"\\\\x00ff"'];
      assert.deepEqual(
        await runSql(url, "select doc from restored_test.docs order by id"),
        texts.map((text) => [text]),
      );
      assert.deepEqual(
        askFile(target, "select doc from docs order by id"),
        ['{"a":1.10}', ...texts.slice(1, 4), 1.5, ...texts.slice(5)].map((doc) => ({ doc })),
      );
    });

  it("gives columns of texts the texts that JSON was in CSV, quotes, null and line breaks", async () => {
    await runSql(
      url,
      "create domain restored_test.note as varchar",
      "create table restored_test.texts (id int primary key, a text, b restored_test.note, c jsonb)",
    );
    const [to, target] = [folder.next(), `${folder.next()}.db`];
    changeFile(target, "create table texts (id integer primary key, a text, b varchar(9), c json)");
    const texts = ['"abc"', "null", "{\n}", "true", "1.50"];
    const query = `select id, j a, j b, j c from (values ${texts.map((text, id) => `(${id}, '${text}'::json)`).join()}) t (id, j)`;
    const source = duckdb({ query });
    await run(makePipeline({ source, format: "csv", dir: folder.next(), to }), { env: testEnv });
    await restoreExport(to, { to: { url, table: "restored_test.texts" } });
    await restoreExport(to, { to: { url: `sqlite:${target}`, table: "texts" } });
    const documents = ['"abc"', null, "{}", "true", "1.50"];
    assert.deepEqual(
      await runSql(url, "select a, b, c from restored_test.texts order by id"),
      texts.map((text, at) => [text, text, documents[at]]),
    );
    assert.deepEqual(
      askFile(target, "select a, b from texts order by id"),
      texts.map((text) => ({ a: text, b: text })),
    );
  });

  it("is a flag of the command", async () => {
    const desk = await openDesk();
    try {
      const { folder: from } = await make();
      await writeFile(join(desk.folder, "key.txt"), `${identity}\n`, { mode: 0o600 });
      const call = ["restore", from, "--to", url, "-i", "key.txt"];
      const bare = await desk.cli(call);
      assert.equal(bare.code, 2);
      assert.match(bare.stderr, /--table and --to postgres:\/\/… or sqlite:<file> belong together/);
      const { code, stdout, stderr } = await desk.cli([
        ...call,
        "--table",
        "restored_test.people",
        "--key",
        "id",
      ]);
      assert.equal(code, 0, stderr);
      assert.match(stdout, /300 records, .* in restored_test\.people/);
      assert.equal((await counts())[0]?.[0], "300");
      const again = await desk.cli([...call, "--table", "restored_test.people", "--json"]);
      assert.equal(again.code, 5);
      const { error } = JSON.parse(again.stdout);
      assert.equal(error.code, "destination-refused");
      assert.match(error.message, /was restored into restored_test\.people already; nothing was/);
      await runSql(
        url,
        "delete from restored_test.spillway_objects where name like '%/manifest.json'",
      );
      const rest = await desk.cli([...call, "--table", "restored_test.people"]);
      assert.equal(rest.code, 0, rest.stderr);
      assert.match(rest.stdout, /3 of 3 pages written by an earlier call/);
    } finally {
      await desk.remove();
    }
  });
});

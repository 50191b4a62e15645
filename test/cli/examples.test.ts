import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { readFile, readdir } from "node:fs/promises";
import { join } from "node:path";
import { DatabaseSync } from "node:sqlite";
import { fileURLToPath } from "node:url";
import { loadPipeline } from "../../src/pipeline/load.ts";
import { planPipeline } from "../../src/pipeline/plan.ts";
import { copyIn } from "../fixtures/copy.ts";
import { runSql, sharedPostgres } from "../servers/postgres.ts";
import { cliPath, openDesk, rowsText, type Desk } from "./spawn-cli.ts";

const examples = new URL("../../examples/", import.meta.url);
const library = fileURLToPath(new URL("../src/index.ts", examples));

/** Copies of the examples, since what they read and write lies beside them. */
async function copyExamples(desk: Desk): Promise<void> {
  for (const name of await readdir(examples)) {
    const text = await readFile(new URL(name, examples), "utf8");
    const placed = text
      .replace("../src/index.ts", library)
      .replace('"valibot"', JSON.stringify(import.meta.resolve("valibot")));
    await desk.write(name, placed);
  }
}

describe("examples", () => {
  let desk: Desk;
  before(async () => {
    desk = await openDesk();
    await copyExamples(desk);
    await desk.write("rows.ndjson", rowsText(50));
  });
  after(() => desk.remove());

  it("all plan within their memory", async () => {
    const names = (await readdir(examples)).filter((name) => name.endsWith(".yaml"));
    assert.ok(names.length >= 4);
    for (const name of names) {
      const pipeline = await loadPipeline(join(desk.folder, name));
      const { report } = await planPipeline(pipeline, { resolve: "none", env: {} });
      assert.ok(
        report.ledger.every(({ bytes }) => bytes >= 0),
        name,
      );
    }
  });

  it("postgres-to-s3 needs nothing but its variables", async () => {
    const file = "postgres-to-s3.yaml";
    const env = { DATABASE_URL: "postgres://localhost/clinic" };
    assert.equal((await desk.cli(["check", file], env)).code, 0);
  });

  it("lookup names codes from a second query", async () => {
    const { url } = await sharedPostgres();
    await runSql(
      url,
      "drop schema if exists examples_lookup cascade",
      "create schema examples_lookup",
      "create table examples_lookup.observation as select g as id, 'k' || g % 7 as code, g / 7.0 as value from generate_series(1, 3000) g",
      "create table examples_lookup.term as select 'k' || g as code, 'Term ' || g as display, 'mg' as unit from generate_series(0, 5) g",
    );
    const name = "lookup.yaml";
    const text = await readFile(join(desk.folder, name), "utf8");
    await desk.write(name, text.replace(/encrypt: .*/, "encrypt: none"));
    const database = `${url}?options=-csearch_path%3Dexamples_lookup`;
    const env = { DATABASE_URL: database, TERMS_URL: database };
    const planned = await desk.cli(["plan", name], env);
    assert.match(planned.stdout, /lookup reads its query once, whole, where the rows fit 4 MiB/);
    const { code, stderr } = await desk.cli(["run", name], env);
    assert.equal(code, 0, stderr);
    assert.match(stderr, /lookup: all 6 rows of its query are in memory/);
    assert.equal(
      (await desk.cli(["restore", "exports/observations-named", "--to", "named"])).code,
      0,
    );
    const rows = await readFile(join(desk.folder, "named/observations-named.ndjson"), "utf8");
    const expected = await runSql(
      database,
      "select row_to_json(r) from (select id, code, value, display, unit from observation left join term using (code) order by id) r",
    );
    assert.equal(rows, expected.map(([row]) => `${row}\n`).join(""));
  });

  it("nightly exports what is new, once for a slot", async () => {
    const { url } = await sharedPostgres();
    const rows = (from: number, to: number) =>
      `insert into examples_nightly.observation select g, g % 9, 'k', g / 7.0, now() - interval '1 day' + g * interval '1 second' from generate_series(${from}, ${to}) g`;
    await runSql(
      url,
      "drop schema if exists examples_nightly cascade",
      "create schema examples_nightly",
      "create table examples_nightly.observation (id int primary key, patient_id int, code text, value numeric, changed_at timestamptz not null)",
      rows(1, 400),
    );
    const name = "nightly.yaml";
    const text = await readFile(join(desk.folder, name), "utf8");
    await desk.write(name, text.replace(/encrypt: .*/, "encrypt: none"));
    const database = url.replace("postgres@", "postgres:secret@");
    const env = { DATABASE_URL: `${database}?options=-csearch_path%3Dexamples_nightly` };
    const night = (slot: string) => desk.json(["run", name, "--slot", slot], env);
    const first = await night("2026-03-01T01:30:00Z");
    assert.deepEqual([first.code, first.document.rows], [0, 400], first.stderr);
    await runSql(url, rows(401, 420));
    assert.equal((await night("2026-03-01T01:30:00Z")).document.runId, first.document.runId);
    const second = await night("2026-03-02T01:30:00Z");
    assert.deepEqual([second.code, second.document.rows], [0, 20], second.stderr);
  });

  it("write-back fills a table, and a second run changes only what changed", async () => {
    const { url } = await sharedPostgres();
    await runSql(
      url,
      "drop schema if exists examples_back cascade",
      "create schema examples_back",
      "create table examples_back.observation as select g as id, 'k' || g % 7 as code, g / 7.0 as value from generate_series(1, 3000) g",
      "create table examples_back.term as select 'k' || g as code, 'Term ' || g as display from generate_series(0, 5) g",
      "create table examples_back.observation_named (id int primary key, code text, value numeric, display text)",
    );
    const database = `${url}?options=-csearch_path%3Dexamples_back`;
    const env = { DATABASE_URL: database, TARGET_URL: database };
    const run = async () => {
      const { code, stderr } = await desk.cli(["run", "write-back.yaml", "-q"], env);
      assert.equal(code, 0, stderr);
      return runSql(
        database,
        "select count(*), count(display), sum(value)::text = (select sum(value)::text from observation) from observation_named",
      );
    };
    assert.deepEqual(await run(), [["3000", "2572", "t"]]);
    await runSql(database, "update observation set value = 0 where id < 10");
    assert.deepEqual(await run(), [["3000", "2572", "t"]]);
  });

  it("write-back-sqlite fills a table of a file, and a second run replaces its rows", async () => {
    const database = new DatabaseSync(join(desk.folder, "local.db"));
    database.exec("create table results (id integer primary key, code text, value text)");
    for (const value of ["72.50", "80.10"]) {
      await desk.write("results.ndjson", `{"id":1,"code":"29463-7","value":${value}}\n`);
      const { code, stderr } = await desk.cli(["run", "write-back-sqlite.yaml", "-q"]);
      assert.equal(code, 0, stderr);
      const rows = database.prepare("select * from results").all();
      assert.deepEqual({ ...rows[0] }, { id: 1, code: "29463-7", value });
      assert.equal(rows.length, 1);
    }
    database.close();
    const { code, stdout } = await desk.cli(["doctor", "write-back-sqlite.yaml"]);
    assert.equal(code, 0, stdout);
    assert.match(stdout, /results, rows replaced by id/);
  });

  it("postgres-copy gives a file that COPY … FROM takes back", async () => {
    const { url } = await sharedPostgres();
    await runSql(
      url,
      "drop schema if exists examples_copy cascade",
      "create schema examples_copy",
      "create table examples_copy.observation as select g as id, g / 7.0 as value from generate_series(1, 3000) g",
      "create table examples_copy.back (like examples_copy.observation)",
    );
    await desk.cli(["keygen", "--out", "key.txt", "-q"]);
    const recipient = /age1\w+/.exec(await readFile(join(desk.folder, "key.txt"), "utf8"))![0];
    const name = "postgres-copy.yaml";
    const text = await readFile(join(desk.folder, name), "utf8");
    await desk.write(name, text.replace(/age1\w+/, recipient));
    const env = { DATABASE_URL: `${url}?options=-csearch_path%3Dexamples_copy` };
    const { code, stderr } = await desk.cli(["run", name, "-q"], env);
    assert.equal(code, 0, stderr);
    const restore = ["restore", "exports/observations-copy", "--to", "restored", "-i", "key.txt"];
    assert.equal((await desk.cli(restore)).code, 0);
    const file = await readFile(join(desk.folder, "restored/observations-copy.pgbinary"));
    await copyIn(url, "examples_copy.back", "format binary", file);
    const same = "select count(*) from examples_copy.back natural join examples_copy.observation";
    assert.deepEqual(await runSql(url, same), [["3000"]]);
  });

  it("csv-to-folder gives the chosen columns and rows", async () => {
    await desk.write("patients.csv", 'id,name,city\n1,Ada,London\n2,Nobody,""\n3,Grace,New York\n');
    assert.equal((await desk.cli(["run", "csv-to-folder.yaml", "-q"])).code, 0);
    const { stdout } = await desk.cli(["cat", "exports/patients"]);
    assert.equal(stdout, "id,city\n1,London\n3,New York\n");
  });

  it("csv-for-excel makes of a database's dump what Excel opens", async () => {
    await desk.write("people.tsv", "1\tZoë\t1,5\n2\tGrace\t\\N\n");
    assert.equal((await desk.cli(["run", "csv-for-excel.yaml", "-q"])).code, 0);
    const { stdout } = await desk.cli(["cat", "exports/people"]);
    assert.equal(stdout, "\ufeffcolumn1;column2;column3\r\n1;Zoë;1,5\r\n2;Grace;\r\n");
    const { document } = await desk.json(["cat", "exports/people", "--json"]);
    const names = (document as unknown as { column2: string }[]).map(({ column2 }) => column2);
    assert.deepEqual(names, ["Zoë", "Grace"]);
  });

  it("custom-stage runs a function and a stage of one's own", async () => {
    const input = [
      '{"id":1,"name":"Ada","born":"1815-12-10","phone":"555-0199","consent":true}',
      '{"id":2,"name":"Grace","born":"1906-12-09","phone":"555-0142","consent":false}',
    ].join("\n");
    const { status, stderr } = spawnSync(
      process.execPath,
      [cliPath, "run", "custom-stage.yaml", "-q"],
      {
        cwd: desk.folder,
        input,
        encoding: "utf8",
        env: { ...process.env, XDG_STATE_HOME: desk.folder },
      },
    );
    assert.equal(status, 0, stderr);
    const { stdout } = await desk.cli(["cat", "exports/anonymous"]);
    assert.deepEqual(JSON.parse(stdout), { id: 1, phone: "•••••199", born: "1815" });
  });

  it("passphrase makes one tar file that is restored with it", async () => {
    const env = { SPILLWAY_PASSPHRASE: "correct horse battery" };
    assert.equal((await desk.cli(["run", "passphrase.yaml", "-q"], env)).code, 0);
    const { stdout } = await desk.cli(["cat", "tar:./for-the-auditor.tar"], env);
    assert.equal(stdout, rowsText(50));
  });

  it("code runs as it stands", async () => {
    const { stdout, stderr, status } = spawnSync(process.execPath, ["code.ts"], {
      cwd: desk.folder,
      encoding: "utf8",
      env: { ...process.env, XDG_STATE_HOME: desk.folder },
    });
    assert.equal(status, 0, stderr);
    assert.match(stdout, /^50 rows in 1 pages at file:/);
    assert.match(stdout, /the first: \{ id: 0, note: 'row 0', checked: true \}/);
  });
});

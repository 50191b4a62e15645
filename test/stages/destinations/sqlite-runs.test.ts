/** Whole runs into a table of SQLite: told, refused, killed, restored. */
import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { once } from "node:events";
import { mkdir } from "node:fs/promises";
import { join } from "node:path";
import { planPipeline } from "../../../src/pipeline/plan.ts";
import { run } from "../../../src/pipeline/run.ts";
import { restoreExport } from "../../../src/readback/restore.ts";
import { serialize } from "../../../src/stages/formats/serialize.ts";
import { chunk } from "../../../src/stages/pages/chunk.ts";
import { compress } from "../../../src/stages/pages/compress.ts";
import { encrypt } from "../../../src/stages/pages/encrypt.ts";
import { spool } from "../../../src/stages/pages/spool.ts";
import { upload } from "../../../src/stages/pages/upload.ts";
import { sqlite } from "../../../src/stages/sources/sqlite.ts";
import { makeExport, ndjsonPages } from "../../fixtures/make-export.ts";
import {
  countedRows,
  defineUnchecked,
  numbered,
  testEnv,
  useFolder,
} from "../../fixtures/pipelines.ts";
import { askFile, changeFile } from "../../fixtures/sqlite-file.ts";

const program = join(import.meta.dirname, "../../fixtures/write-rows.ts");

describe("a run into a table of SQLite", () => {
  const folder = useFolder();
  let home: string;
  const file = (name: string) => join(home, name);

  beforeEach(async () => {
    home = folder.next();
    await mkdir(home, { recursive: true });
  });

  const pipeline = (source: unknown, more: object, sealing: object = { mode: "none" }) =>
    defineUnchecked({
      name: "back",
      memory: "512MiB",
      sign: "${env:SIGN_KEY}",
      stages: [
        source as ReturnType<typeof countedRows>,
        serialize("ndjson"),
        chunk("4KiB"),
        compress("none"),
        encrypt(sealing as { mode: "none" }),
        spool({ dir: file("spool"), maxBytes: "1GiB" }),
        upload({ to: `sqlite:${file("to.db")}`, ...more }),
      ],
    });

  it("has rows, manifest and all, and the same rows again", async () => {
    const create = "create table obs (id integer primary key, value real, raw blob, note text)";
    changeFile(
      file("from.db"),
      create,
      "insert into obs select n, n / 7.0, randomblob(n % 20), 'x' || n from (with recursive g(n) as (select 9007199254740993 union all select n + 1 from g limit 2000) select n from g)",
    );
    changeFile(file("to.db"), create);
    const read = () => sqlite({ path: file("from.db"), query: "select * from obs order by id" });
    const more = { table: "obs", key: ["id"] };
    const summary = await run(pipeline(read(), more), { env: testEnv });
    assert.equal(summary.state, "committed");
    assert(summary.pages > 5);
    assert.equal(summary.destination, `sqlite://${file("to.db")}/obs/back/${summary.runId}`);
    const same = () =>
      askFile(
        file("to.db"),
        "select (select count(*) from obs) as n, (select count(*) from (select * from source.obs except select * from obs)) as lost",
        { first: `attach '${file("from.db")}' as source` },
      );
    assert.deepEqual(same(), [{ n: 2000, lost: 0 }]);
    changeFile(file("from.db"), "update obs set value = 0 where id % 2 = 0");
    await run(pipeline(read(), more), { env: testEnv });
    assert.deepEqual(same(), [{ n: 2000, lost: 0 }]);
    assert.deepEqual(
      askFile(
        file("to.db"),
        "select count(*) as n from spillway_objects where name like '%/manifest.json'",
      ),
      [{ n: 2 }],
    );
  });

  it("takes JSON for what it is, and encodes none twice", async () => {
    const create = "create table docs (id integer primary key, doc JSON)";
    changeFile(
      file("from.db"),
      create,
      `insert into docs values (1, '{"a":1.10,"a":"é"}'), (2, '[1]'), (3, '"b"'), (4, 'true'), (5, 1.5), (6, 9007199254740993), (7, null)`,
    );
    changeFile(file("to.db"), create);
    const query = "select * from docs order by id";
    const read = sqlite({ path: file("from.db"), query });
    await run(pipeline(read, { table: "docs" }), { env: testEnv });
    const whole = "select id, cast(doc as text) as doc, typeof(doc) as type from docs order by id";
    const rows = askFile(file("to.db"), whole);
    assert.equal(rows.length, 7);
    assert.deepEqual(rows, askFile(file("from.db"), whole));
  });

  it("is refused by the plan where the table could not read the pages, or is read itself", async () => {
    const to = "age1yeznxjjp7n4hz27d4gkwad7wrdulpfxm64f62ac5nc07npm84cgq3tzux6";
    const source = countedRows({ rows: 1 });
    for (const bad of [pipeline(source, { table: "t" }, { to }), pipeline(source, {})]) {
      await assert.rejects(planPipeline(bad, { resolve: "none", env: testEnv }), {
        code: "config-invalid",
        message: /a sqlite destination writes rows; expected `serialize: ndjson`/,
      });
    }
    const itself = pipeline(sqlite({ path: file("to.db"), query: "select 1" }), { table: "t" });
    await assert.rejects(planPipeline(itself, { resolve: "none", env: testEnv }), {
      code: "config-invalid",
      message: /cannot be read and written in one run/,
    });
  });

  for (const [journal, kills] of [
    [
      "delete",
      [
        ["after", "2"],
        ["before", "2"],
      ],
    ],
    [
      "wal",
      [
        ["before", "1"],
        ["after", "3"],
      ],
    ],
  ] as const) {
    it(`that is killed right before and after commits has each row once (${journal})`, async function () {
      this.timeout(60_000);
      changeFile(
        file("rows.db"),
        `pragma journal_mode = ${journal}`,
        "create table rows (id int, text text)",
      );
      const attempt = async (...moment: readonly string[]) => {
        const child = spawn(process.execPath, [program, home, ...moment], {
          env: { ...process.env, ...testEnv },
          stdio: ["ignore", "ignore", "inherit"],
        });
        const [code, signal] = (await once(child, "exit")) as [number | null, string | null];
        return signal ?? code;
      };
      for (const moment of kills)
        assert.equal(await attempt(...moment), "SIGKILL", moment.join(" "));
      assert.equal(await attempt(), 0);
      const expected = Array.from({ length: 400 }, (_, id) => numbered(id));
      assert.deepEqual(askFile(file("rows.db"), "select * from rows order by rowid"), expected);
      const runs = "select count(*) as n from spillway_objects where name like '%/manifest.json'";
      assert.deepEqual(askFile(file("rows.db"), runs), [{ n: 1 }]);
    });
  }

  it("is what an export can be restored to, once, however often it is asked for", async () => {
    changeFile(file("to.db"), "create table people (id integer primary key, name text)");
    const { folder: from } = await makeExport(file("export"), ndjsonPages(300, 100), {});
    const to = { url: `sqlite:${file("to.db")}`, table: "people" };
    await restoreExport(from, { to });
    await assert.rejects(restoreExport(from, { to }), { code: "destination-refused" });
    assert.deepEqual(
      askFile(file("to.db"), "select count(*) as n, max(name) as last from people"),
      [{ n: 300, last: "Zoë 99" }],
    );
  });
});

import assert from "node:assert/strict";
import { execFileSync, spawn } from "node:child_process";
import { once } from "node:events";
import {
  copyFile,
  cp,
  mkdir,
  mkdtemp,
  open,
  readdir,
  readFile,
  rename,
  rm,
  truncate,
  writeFile,
} from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import * as v from "valibot";
import { duckdb } from "../../../src/stages/sources/duckdb.ts";
import { loadDuckdb } from "../../../src/stages/sources/duckdb-library.ts";
import { openDesk } from "../../cli/spawn-cli.ts";
import { checkStageContract, collect, testContext } from "../../contract/stage-contract.ts";
import { executeDuckdb } from "../../fixtures/duckdb.ts";
import { nothing, refuses, tuplesOf } from "../../fixtures/sources.ts";

type Config = Partial<v.InferInput<typeof duckdb.config>> & { query: string };

const begin = (config: Config, ctx = testContext()) =>
  duckdb.open(v.parse(duckdb.config, config), ctx, nothing());
const read = (config: Config) => collect(begin(config));

describe("duckdb", () => {
  let folder: string;
  let path: string;

  before(async () => {
    folder = await mkdtemp(join(tmpdir(), "spillway-duckdb-"));
    path = join(folder, "in.duckdb");
    await executeDuckdb(
      [
        "create table t as select i::integer id, 'note ' || i note from range(30000) r(i)",
        `copy (from t) to '${join(folder, "t.parquet")}' (row_group_size 4096)`,
        `copy (from t) to '${join(folder, "t.csv")}'`,
      ],
      path,
    );
  });
  after(() => rm(folder, { recursive: true }));

  const count = async (query: string) => tuplesOf(await read({ path, query })).length;

  checkStageContract({
    stage: duckdb,
    config: () => ({ path, query: "select * from t order by id" }),
    required: ["query"],
    wrong: {
      path: "",
      query: 7,
      params: "1",
      memoryLimit: "1MiB",
      maxBatch: "big",
      timeout: "soon",
    },
    empty: {
      config: () => ({ path, query: "select * from t where false" }),
      check: ([only], error) => {
        assert.equal(error, undefined);
        assert.equal(only?.end?.rows, 0);
        assert.deepEqual(
          only?.columns.map(({ name }) => name),
          ["id", "note"],
        );
      },
    },
  });

  it("gives rows in the order of the query and ends with the proof of its snapshot", async () => {
    const batches = await read({ path, query: "select id from t order by id desc" });
    assert.ok(batches.length > 3);
    assert.deepEqual(
      tuplesOf(batches).map(([id]) => Number(id)),
      Array.from({ length: 30_000 }, (_, index) => 29_999 - index),
    );
    const { rows, consistency } = batches.at(-1)!.end!;
    assert.equal(rows, 30_000);
    assert.equal(consistency.class, "snapshot");
    assert.deepEqual(Object.keys(consistency.proof), ["engine", "size", "mtime"]);
  });

  it("reads Parquet and CSV files, alone and joined with the database, and calls that a stream", async () => {
    const files = `read_csv('${folder}/*.csv') c join '${folder}/t.parquet' p using (id)`;
    for (const config of [
      { query: `select p.* from ${files}` },
      { path, query: `select p.* from ${files} join t using (id)` },
    ]) {
      const ctx = testContext();
      const batches = await collect(begin({ ...config, memoryLimit: "256MiB" }, ctx));
      assert.equal(tuplesOf(batches).length, 30_000);
      assert.equal(batches.at(-1)?.end?.consistency.class, "stream");
      assert.match(ctx.warnings.join(), /keep no snapshot/);
    }
  });

  it("never takes a query that failed for one that is at its end", async () => {
    for (const expression of ["error('secret')", "note::integer", "repeat(note, 1000000000)"]) {
      const query = `select case when id = 29999 then ${expression}::varchar else 'fine' end from t`;
      const rows = begin({ path, query });
      let given = 0;
      const all = async () => {
        for await (const batch of rows) given += batch.rows.length;
      };
      await refuses(all(), /failed after \d{4,} rows/, "source-refused");
      assert.ok(given > 4000, `${given} rows before the failure`);
    }
    const atOnce = "select error('secret') from t where id = 29999";
    await refuses(
      read({ path, query: atOnce }),
      /is refused|failed after 0 rows/,
      "source-refused",
    );
  });

  it("believes an end whose rows the engine counts in part alone, or not at all", async () => {
    const queries: readonly [query: string, rows: number][] = [
      ["values (1), (2)", 2],
      ["with a as (select id from t) from a union all from a", 60_000],
      ["with a as materialized (select id from t) from a", 30_000],
      ["select id, (select max(u.id) from t u where u.id = t.id) from t", 30_000],
      ["from range(3000) r(i), lateral (select r.i + 1)", 3000],
    ];
    for (const [query, rows] of queries) assert.equal(await count(query), rows, query);
    const failing = "case when id = 29999 then error('secret')::varchar else 'fine' end";
    const rows = read({
      path,
      query: `with a as (from t) select ${failing} from a union all select ${failing} from a`,
    });
    await refuses(rows, /failed after \d+ rows|is refused/, "source-refused");
  });

  it("fails on a value that cannot be converted, on too little memory, on a missing file", async () => {
    const query = "select 'secret'::integer";
    await refuses(read({ query }), /cannot be converted/);
    const sort = "select * from range(3000000) t(i) order by hash(i)";
    await refuses(
      read({ query: sort, memoryLimit: "16MiB" }),
      /more than `memoryLimit`/,
      "source-refused",
    );
    const none = { query: "from 'secret.parquet'" };
    await refuses(read(none), /files that do not exist/, "input-missing");
  });

  it("binds parameters, whole numbers as integers", async () => {
    const query = "select typeof(?), typeof(?), ?, ?, ? -- and no more";
    const params = [1, 1.5, true, null, "x' or 1"];
    assert.deepEqual(tuplesOf(await read({ query, params })), [
      ["BIGINT", "DOUBLE", "t", null, "x' or 1"],
    ]);
    for (const params of [[], ["secret"], ["secret", 2, 3]])
      await refuses(read({ query: "select ?, ?", params }), /as many params/, "source-refused");
  });

  it("refuses what is not one SELECT", async () => {
    const queries = [
      "secret",
      "select nothing from t",
      "select 1; select 2",
      "-- nothing",
      "attach 'other.db' as other",
      "insert into t values (0, 'secret') returning *",
      "create temp table x (y integer)",
      "commit",
      "set threads = 4",
      "copy t to 'secret.csv'",
      "load httpfs",
      "pivot t on id",
      "select * from query('drop table t')",
    ];
    for (const query of queries)
      await refuses(read({ path, query }), /is refused|expected one SELECT/, "source-refused");
    assert.equal(await count("from t limit 1;"), 1);
    assert.equal(await count(" /* a */ select 1 ; -- b\n; /* c */"), 1);
  });

  it("loads no extension, asks no network, spills nothing, and lets no query change that", async () => {
    const settings = [
      "autoload_known_extensions",
      "lock_configuration",
      "temp_directory",
      "threads",
    ];
    const list = settings.map((name) => `current_setting('${name}')`).join(", ");
    assert.deepEqual(tuplesOf(await read({ path, query: `select ${list}` })), [
      ["f", "t", "", "1"],
    ]);
    for (const query of ["from 'https://127.0.0.1/secret.parquet'", "select st_point(1, 2)"])
      await refuses(read({ query }), /needs an extension/, "source-refused");
    assert.deepEqual((await readdir(folder)).toSorted(), ["in.duckdb", "t.csv", "t.parquet"]);
  });

  it("refuses rows that are wider than it has room for", async () => {
    const query = `select repeat('x', 10000) from t`;
    await refuses(read({ path, query, maxBatch: "1MiB" }), /2048 rows.* maxBatch \(1.MiB\)/);
    assert.equal(
      tuplesOf(await read({ path, query: `${query} limit 90`, maxBatch: "1MiB" })).length,
      90,
    );
  });

  it("tells a missing file, a file of another kind and a damaged one apart", async () => {
    const query = "select * from t";
    await refuses(read({ path: join(folder, "none"), query }), /does not exist/, "input-missing");
    await refuses(read({ path: ":memory:", query }), /does not exist/, "input-missing");
    await refuses(read({ path: folder, query }), /not a regular file/, "source-refused");
    const other = join(folder, "other");
    await writeFile(other, "no database ".repeat(5000));
    await refuses(read({ path: other, query }), /not a DuckDB database/);
    await copyFile(path, other);
    await truncate(other, 300_000);
    await assert.rejects(read({ path: other, query }), { name: "PipelineError" });
    await rm(other);
  });

  it("lets no program write while it reads, and does not wait for one that does", async () => {
    const rows = begin({ path, query: "select * from t" })[Symbol.asyncIterator]();
    await rows.next();
    assert.match(executeElsewhere(path, "insert into t values (-1, 'late')"), /lock/);
    await rows.return?.();
    const writer = await holdElsewhere(path);
    await refuses(count("select * from t"), /another program writes/, "source-failed");
    writer.kill();
    await once(writer, "exit");
    assert.equal(await count("select * from t"), 30_000);
  });

  it("fails when the file is written to or replaced while it is read", async () => {
    const query = "select * from t";
    const own = join(folder, "own.duckdb");
    await copyFile(path, own);
    const first = begin({ path: own, query })[Symbol.asyncIterator]();
    await first.next();
    const file = await open(own, "r+");
    await file.write(Buffer.from([7]), 0, 1, 8000);
    await file.close();
    await refuses(drain(first), /written to/, "source-changed");
    await copyFile(path, own);
    const second = begin({ path: own, query })[Symbol.asyncIterator]();
    await second.next();
    await copyFile(own, `${own}.new`);
    await rename(`${own}.new`, own);
    await refuses(drain(second), /replaced|written to/, "source-changed");
    await rm(own);
  });

  const endless =
    "select count(*) from range(1000000) a, range(1000000) b where hash(a.range + b.range) = 0";

  it("interrupts a query that gives nothing when the run stops", async () => {
    const ctx = testContext();
    const reason = new Error("stopped");
    setTimeout(() => ctx.controller.abort(reason), 150);
    const started = performance.now();
    await assert.rejects(collect(begin({ path, query: endless }, ctx)), reason);
    assert.ok(performance.now() - started < 5000);
    assert.equal(executeElsewhere(path, "select 1"), "done");
  });

  it("says what to install where the package is not", async () => {
    // The same file where no package is near.
    const lonely = await mkdtemp(join(tmpdir(), "spillway-lonely-"));
    try {
      await cp(new URL("../../../src", import.meta.url), join(lonely, "src"), { recursive: true });
      await writeFile(join(lonely, "package.json"), '{ "type": "module" }');
      const library = JSON.stringify(join(lonely, "src/stages/sources/duckdb-library.ts"));
      const ask = `import(${library}).then(({ loadDuckdb }) => loadDuckdb()).catch((error) => console.log(error.code, error.message))`;
      assert.match(
        execFileSync(process.execPath, ["-e", ask], { encoding: "utf8", cwd: lonely }),
        /^config-invalid .*run `npm install @duckdb\/node-api@1\.5\.4-r\.1`/,
      );
    } finally {
      await rm(lonely, { recursive: true });
    }
  });

  it("is read by its example, and the export goes its whole way", async function () {
    this.timeout(60_000);
    const desk = await openDesk();
    try {
      const inside = (name: string) => join(desk.folder, name);
      await mkdir(inside("readings"));
      await executeDuckdb(
        [
          "create table device as select i as id, 'ward ' || i as ward from range(7) t(i)",
          `copy (select i as id, i % 7 as device, (i / 4)::decimal(18,2) as value from range(4000) t(i)) to '${inside("readings/a.parquet")}'`,
        ],
        inside("clinic.duckdb"),
      );
      const name = "duckdb-to-folder.yaml";
      const text = await readFile(new URL(`../../../examples/${name}`, import.meta.url), "utf8");
      await desk.write(name, text.replace(/encrypt: .*/, "encrypt: none"));
      const { code, stdout, stderr } = await desk.cli(["run", name, "--json"]);
      assert.equal(code, 0, stderr);
      assert.equal((JSON.parse(stdout) as { consistency: string }).consistency, "stream");
      const lines = Array.from({ length: 3960 }, (_, at) => at + 40).map(
        (id) =>
          `{"ward":"ward ${id % 7}","id":${id},"device":${id % 7},"value":${(id / 4).toFixed(2)}}\n`,
      );
      assert.equal((await desk.cli(["cat", "exports/readings"])).stdout, lines.join(""));
    } finally {
      await desk.remove();
    }
  });

  it("gives up on a query that is silent for too long", async () => {
    const silent = read({ query: endless, timeout: "200ms" });
    await refuses(silent, /gave no answer for 200 ms/, "source-failed");
  });

  it("gives up on a file whose opening takes too long", async () => {
    const { DuckDBInstance } = loadDuckdb();
    const { create } = DuckDBInstance;
    DuckDBInstance.create = () => new Promise(() => {});
    try {
      const silent = read({ path, query: "select 1", timeout: "20ms" });
      await refuses(silent, /gave no answer for 20 ms/, "source-failed");
    } finally {
      DuckDBInstance.create = create;
    }
  });
});

const program = `
  const { DuckDBInstance } = require("@duckdb/node-api");
  DuckDBInstance.create(process.argv[1])
    .then((instance) => instance.connect())
    .then((connection) => connection.run(process.argv[2]))
    .then(() => process.stdout.write("done"), (error) => process.stdout.write(error.message))`;

/** Runs SQL in a process of its own; gives `done` or the error. */
function executeElsewhere(path: string, sql: string): string {
  return execFileSync(process.execPath, ["-e", program, path, sql], { encoding: "utf8" });
}

/** A process that has the file open for writing. */
async function holdElsewhere(path: string) {
  const stay = `${program}.then(() => setTimeout(() => {}, 60_000))`;
  const writer = spawn(process.execPath, ["-e", stay, path, "select 1"]);
  await once(writer.stdout, "data");
  return writer;
}

async function drain(rows: AsyncIterator<unknown>): Promise<void> {
  while (!(await rows.next()).done);
}

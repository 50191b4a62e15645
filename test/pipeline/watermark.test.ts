import assert from "node:assert/strict";
import { once } from "node:events";
import { readFile, readdir } from "node:fs/promises";
import { type AddressInfo, connect, createServer } from "node:net";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { map } from "../../src/stages/transforms/map.ts";
import { planPipeline } from "../../src/pipeline/plan.ts";
import { postgres } from "../../src/stages/sources/postgres.ts";
import { openSession, type Session } from "../../src/stages/sources/postgres-session.ts";
import { makePipeline, testEnv, useFolder } from "../fixtures/pipelines.ts";
import { runSql, sharedPostgres } from "../servers/postgres.ts";
import { exportCut, spoolText } from "./epochs.ts";

interface Line {
  readonly id: number;
}

const idsOf = (text: string) =>
  text
    .split("\n")
    .filter(Boolean)
    .map((line) => (JSON.parse(line) as Line).id);

const range = (from: number, to: number) =>
  Array.from({ length: to - from + 1 }, (_, at) => from + at);

/** A way to the server on which all that is sent to it is noted. */
async function recordTo(serverPort: number) {
  const sent: Buffer[] = [];
  const listener = createServer((client) => {
    const server = connect(serverPort, "127.0.0.1");
    for (const socket of [client, server]) socket.on("error", () => server.destroy());
    client.on("data", (bytes) => sent.push(bytes)).pipe(server);
    server.pipe(client);
  });
  await once(listener.listen(0, "127.0.0.1"), "listening");
  return {
    port: (listener.address() as AddressInfo).port,
    sent: () => Buffer.concat(sent).toString("latin1"),
    close: () => new Promise((resolve) => listener.close(resolve)),
  };
}

describe("watermark", () => {
  const folder = useFolder();
  let url: string;
  let sql: (...statements: string[]) => ReturnType<typeof runSql>;
  before(async () => {
    const server = await sharedPostgres();
    url = server.url.replace(/^(postgres(?:ql)?:\/\/[^@:]*)(?::[^@]*)?@/, "$1:secret@");
    sql = (...statements) => runSql(url, ...statements);
  });

  const tableOf = async (name: string, column = "changed timestamptz not null default now()") => {
    await sql(
      `drop table if exists ${name}`,
      `create table ${name} (id int primary key, ${column}, note text default repeat('x', 60))`,
    );
    return name;
  };

  const sourceOf = (table: string, more: object = {}) => ({
    url,
    query: `select * from ${table}`,
    watermark: { column: "changed", tiebreak: "id", lag: "1ms" },
    ...more,
  });

  const exportOf = async (source: object, path: string, more: object = {}) =>
    await exportCut({ source, cuts: [], folder: path, ...more });

  it("exports all rows first, then those behind the last one, equal times told apart", async () => {
    const table = await tableOf("watermark_plain");
    const path = folder.next();
    const at = (micros: string) => `timestamptz '2026-01-01 00:00:00.${micros}+00'`;
    await sql(`insert into ${table} select g, ${at("123456")} from generate_series(1, 40) g`);
    const first = await exportOf(sourceOf(table), path);
    assert.deepEqual(idsOf(first.text), range(1, 40));
    assert.equal(first.consistency.proof["watermark"], "changed, id");
    assert.equal(first.consistency.proof["behindRun"], null);
    // A microsecond on, the same moment with a higher and with a lower tiebreak.
    await sql(
      `insert into ${table} values (51, ${at("123457")}), (50, ${at("123456")}), (0, ${at("123456")})`,
    );
    const second = await exportOf(sourceOf(table), path);
    assert.deepEqual(idsOf(second.text), [50, 51]);
    assert.equal(second.consistency.proof["behindRun"], first.summary.runId);
    const third = await exportOf(sourceOf(table), path);
    assert.deepEqual([third.summary.rows, third.summary.state], [0, "committed"]);
    await sql(`update ${table} set changed = now() where id in (3, 7)`);
    assert.deepEqual(idsOf((await exportOf(sourceOf(table), path)).text), [3, 7]);
  });

  it("tells equal times apart by a domain too, over an enum", async () => {
    await sql(
      "create type watermark_mood as enum ('good', 'bad')",
      "create domain watermark_moods as watermark_mood",
    );
    const table = await tableOf("watermark_felt", "changed int not null, mood watermark_moods");
    const path = folder.next();
    const source = sourceOf(table, { watermark: { column: "changed", tiebreak: "mood" } });
    await sql(
      `alter table ${table} add unique (changed, mood), alter mood set not null`,
      `insert into ${table} values (1, 7, 'good')`,
    );
    assert.deepEqual(idsOf((await exportOf(source, path)).text), [1]);
    await sql(`insert into ${table} values (2, 7, 'bad')`);
    assert.deepEqual(idsOf((await exportOf(source, path)).text), [2]);
  });

  it("refuses rows whose watermark a join made null, which no range would hold", async () => {
    const table = await tableOf("watermark_joined", "changed bigint not null");
    await sql(`insert into ${table} select g, g from generate_series(1, 40) g`);
    const query = `select t.* from generate_series(1, 41) g left join ${table} t on t.id = g`;
    const watermark = { column: "changed", tiebreak: "id" };
    await assert.rejects(exportOf(sourceOf(table, { query, watermark }), folder.next()), {
      code: "source-refused",
      message: /`watermark` is null in a row of the query/,
    });
  });

  for (const value of ["NaN", "Infinity"])
    it(`refuses a column whose last value is ${value}, behind which nothing would be new`, async () => {
      const table = await tableOf("watermark_endless", "changed float8 not null");
      await sql(`insert into ${table} values (1, 4711), (2, '${value}')`);
      const source = sourceOf(table, { watermark: { column: "changed", tiebreak: "id" } });
      await assert.rejects(exportOf(source, folder.next()), {
        code: "source-refused",
        message: /NaN or infinity/,
      });
    });

  it("gives the same rows whether JavaScript looks at them or not", async () => {
    const table = await tableOf("watermark_paths");
    await sql(
      `insert into ${table} (id) select g from generate_series(1, 300) g order by random()`,
    );
    const plain = await exportOf(sourceOf(table), folder.next());
    const rows = [map({ module: (row: object) => row })];
    const mapped = await exportOf(sourceOf(table), folder.next(), { rows });
    assert.equal(plain.text, mapped.text);
    assert.equal(plain.summary.rows, 300);
  });

  it("reads the range that the first attempt fixed; what comes meanwhile is the next run's", async () => {
    const table = await tableOf("watermark_cut");
    await sql(`insert into ${table} (id) select g from generate_series(1, 400) g`);
    const path = folder.next();
    const cut = await exportOf(sourceOf(table), path, {
      cuts: [3, 5],
      between: () => sql(`insert into ${table} (id) select max(id) + 1 from ${table}`),
    });
    assert.ok(cut.summary.resumedFrom);
    assert.deepEqual(idsOf(cut.text), range(1, 400));
    assert.deepEqual(idsOf((await exportOf(sourceOf(table), path)).text), [401, 402]);
  });

  it("advances with the commit alone: a run that was cut off leaves no bound behind", async () => {
    const table = await tableOf("watermark_discard");
    await sql(`insert into ${table} (id) select g from generate_series(1, 400) g`);
    const path = folder.next();
    let left = "";
    const both = await exportOf(sourceOf(table), path, {
      cuts: [3],
      between: async () => (left = await spoolText(path)),
    });
    assert.deepEqual(idsOf(both.text), range(1, 400));
    assert.doesNotMatch(left, /carried/);
  });

  it("leaves rows that are younger than `lag` to the next run", async () => {
    const table = await tableOf("watermark_lag");
    await sql(
      `insert into ${table} values (1, now() - interval '2 hours'), (2, now() - interval '10 minutes')`,
    );
    const lagging = sourceOf(table, {
      watermark: { column: "changed", tiebreak: "id", lag: "1h" },
    });
    assert.deepEqual(idsOf((await exportOf(lagging, folder.next())).text), [1]);
    const usual = sourceOf(table, { watermark: { column: "changed", tiebreak: "id" } });
    await sql(`insert into ${table} values (3, now() - interval '1 minute')`);
    assert.deepEqual(idsOf((await exportOf(usual, folder.next())).text), [1, 2]);
  });

  it("asks what is past before its snapshot is taken, since on a standby that moves on and the snapshot stays", async () => {
    const table = await tableOf("watermark_order");
    await sql(`insert into ${table} values (1, now() - interval '10 minutes'), (2, now())`);
    const wire = await recordTo(Number(new URL(url).port));
    const through = new URL(url);
    Object.assign(through, { port: String(wire.port), hostname: "127.0.0.1" });
    through.searchParams.set("options", "-c datestyle=German -c timezone=Asia/Kathmandu");
    const usual = { column: "changed", tiebreak: "id" };
    const source = sourceOf(table, { url: through.href, watermark: usual });
    try {
      assert.deepEqual(idsOf((await exportOf(source, folder.next())).text), [1]);
    } finally {
      await wire.close();
    }
    const [past, snapshot] = ["pg_last_xact_replay_timestamp", "begin transaction"].map((said) =>
      wire.sent().indexOf(said),
    );
    assert.ok(past! > 0 && past! < snapshot!, `${past} ${snapshot}`);
  });

  it("takes a time without zone for settled once it is past everywhere on earth", async () => {
    const table = await tableOf("watermark_zoneless", "changed timestamp not null");
    const wall = (zone: string) => `(now() at time zone '${zone}') - interval '10 minutes'`;
    await sql(`insert into ${table} values (1, ${wall("Etc/GMT+12")}), (2, ${wall("UTC")})`);
    assert.deepEqual(idsOf((await exportOf(sourceOf(table), folder.next())).text), [1]);
    await sql(
      `alter table ${table} alter changed type date using changed - interval '1 day' * (2 - id)`,
    );
    assert.deepEqual(idsOf((await exportOf(sourceOf(table), folder.next())).text), [1]);
  });

  describe("of transactions", () => {
    let other: Session;
    before(async () => {
      const options = { url, connectMillis: 10_000, answerMillis: 60_000 };
      other = await openSession(options, new AbortController().signal);
    });
    after(() => other.close());

    it("loses no row that is committed late, and gives each once", async () => {
      const table = await tableOf(
        "watermark_xid",
        "changed xid8 not null default pg_current_xact_id()",
      );
      const path = folder.next();
      await sql(`insert into ${table} (id) values (1)`);
      await other.ask("begin");
      await other.ask(`insert into ${table} (id) values (2)`);
      await sql(`insert into ${table} (id) values (3)`);
      const source = sourceOf(table, { watermark: { column: "changed", tiebreak: "id" } });
      assert.deepEqual(idsOf((await exportOf(source, path)).text), [1]);
      await other.ask("commit");
      assert.deepEqual(idsOf((await exportOf(source, path)).text), [2, 3]);
      assert.equal((await exportOf(source, path)).summary.rows, 0);
    });
  });

  it("keeps no bound in clear, in the spool or in the manifest", async () => {
    const table = await tableOf("watermark_secret", "changed text not null");
    await sql(`insert into ${table} values (1, 'patient-4711')`);
    const path = folder.next();
    const source = sourceOf(table, { watermark: { column: "changed", tiebreak: "id" } });
    const { summary } = await exportOf(source, path);
    const kept = await spoolText(path);
    assert.match(kept, /"text":/);
    assert.doesNotMatch(kept, /patient|4711/);
    assert.doesNotMatch(await readFile(fileURLToPath(summary.manifest), "utf8"), /patient|4711/);
    assert.ok(
      (await readdir(join(path, "spool/observations"))).some((name) => name.startsWith("carried-")),
    );
  });

  it("refuses a bound of another query or another password", async () => {
    const table = await tableOf("watermark_changed");
    await sql(`insert into ${table} (id) values (1)`);
    const path = folder.next();
    await exportOf(sourceOf(table), path);
    const narrow = sourceOf(table, { query: `select id, changed from ${table}` });
    await assert.rejects(exportOf(narrow, path), { code: "config-changed", message: /carried-/ });
    const other = sourceOf(table, { url: url.replace("secret", "other") });
    await assert.rejects(exportOf(other, path), { code: "config-changed", message: /password/ });
    const sealed = { column: "changed", tiebreak: "id", lag: "1ms", sealedBy: "secret" };
    const same = sourceOf(table, { url: url.replace("secret", "other"), watermark: sealed });
    assert.equal((await exportOf(same, path)).summary.rows, 0);
  });

  const cuts = ["order by changed limit 3", "fetch first ($1::int) rows only;", "offset 2 -- rows"];
  for (const cut of cuts)
    it(`refuses a query that says \`${cut}\`, whose other rows would be in no export`, async () => {
      const table = await tableOf("watermark_limited");
      await sql(`insert into ${table} (id) select g from generate_series(1, 9) g`);
      const query = `select * from ${table} ${cut}`;
      const params = cut.includes("$1") ? ["3"] : [];
      await assert.rejects(exportOf(sourceOf(table, { query, params }), folder.next()), {
        code: "source-refused",
        message: /`limit` or `offset`/,
      });
    });

  it("takes a query whose limit is of a part alone", async () => {
    const table = await tableOf("watermark_partly");
    await sql(`insert into ${table} (id) select g from generate_series(1, 9) g`);
    const query = `select * from ${table} where id > $1::int and id < (select 8 limit 1) limit all`;
    const { text } = await exportOf(sourceOf(table, { query, params: ["2"] }), folder.next());
    assert.deepEqual(idsOf(text), range(3, 7));
  });

  const others: readonly [what: string, column: string, change: (table: string) => string][] = [
    [
      "type",
      "changed numeric not null",
      (t) => `alter table ${t} alter changed type float8 using -changed`,
    ],
    [
      "collation",
      'changed text collate "C" not null',
      (t) => `alter table ${t} alter changed type text collate "default"`,
    ],
    ["table", "changed int not null", (t) => `alter table ${t} rename to ${t}_before`],
  ];
  for (const [what, column, change] of others)
    it(`refuses a bound of another ${what}`, async () => {
      const name = `watermark_other_${what}`;
      await sql(`drop table if exists ${name}_before`);
      const table = await tableOf(name, column);
      await sql(`insert into ${table} values (1, '4711')`);
      const source = sourceOf(table, { watermark: { column: "changed", tiebreak: "id" } });
      const path = folder.next();
      assert.equal((await exportOf(source, path)).summary.rows, 1);
      assert.equal((await exportOf(source, path)).summary.rows, 0);
      await sql(change(table));
      if (what === "table") await sql(`create table ${table} (like ${table}_before including all)`);
      await assert.rejects(exportOf(source, path), { code: "config-changed", message: /database/ });
    });

  it("refuses a bound of another database, also where the server may not be asked for its name", async () => {
    const table = await tableOf("watermark_database", "changed int not null");
    await sql(`insert into ${table} values (1, 4711)`);
    const watermark = { column: "changed", tiebreak: "id" };
    const twin = "watermark_twin";
    await sql(
      `drop database if exists ${twin}`,
      `create database ${twin}`,
      "drop role if exists watermark_reader",
      "create role watermark_reader login",
      `grant select on ${table} to watermark_reader`,
      "revoke execute on function pg_control_system() from public",
    );
    const at = (database: string, user?: string) => {
      const there = new URL(url);
      there.pathname = database;
      if (user !== undefined) there.username = user;
      return there.href;
    };
    try {
      await runSql(
        at(twin),
        `create table ${table} (id int primary key, changed int not null, note text)`,
      );
      for (const user of [undefined, "watermark_reader"]) {
        const here = sourceOf(table, { watermark, url: at("postgres", user) });
        const path = folder.next();
        assert.equal((await exportOf(here, path)).summary.rows, 1);
        assert.equal((await exportOf(here, path)).summary.rows, 0);
        await runSql(at(twin), `grant select on ${table} to watermark_reader`);
        const there = sourceOf(table, { watermark, url: at(twin, user) });
        await assert.rejects(exportOf(there, path), { code: "config-changed" });
      }
    } finally {
      await sql("grant execute on function pg_control_system() to public");
      await sql(
        `drop database ${twin}`,
        `drop owned by watermark_reader`,
        "drop role watermark_reader",
      );
    }
  });

  const refusals: readonly [why: string, column: string, more: object, told: RegExp][] = [
    ["may be null", "changed timestamptz", {}, /may be null/],
    [
      "is not unique",
      "changed timestamptz not null",
      { watermark: { column: "changed" } },
      /unique/,
    ],
    ["has a lag and is no time", "changed int not null", {}, /lag.*for times/],
  ];
  for (const [why, column, more, told] of refusals) {
    it(`refuses a column that ${why}`, async () => {
      const table = await tableOf("watermark_refused", column);
      const exporting = exportOf(sourceOf(table, more), folder.next());
      await assert.rejects(exporting, { code: "source-refused", message: told });
    });
  }

  const impossible: readonly [why: string, more: object, told: RegExp][] = [
    ["goes on by key", { key: ["id"], resume: "epochs" }, /goes with `resume: proof`/],
    ["has no password", { url: "postgres://me@localhost/x" }, /sealed by the password/],
  ];
  for (const [why, more, told] of impossible) {
    it(`is refused by the plan of a source that ${why}`, async () => {
      const source = postgres({ ...sourceOf("t"), ...more });
      const pipeline = makePipeline({ source, dir: folder.next(), to: folder.next() });
      const planning = planPipeline(pipeline, { resolve: "full", env: testEnv });
      await assert.rejects(planning, { code: "config-invalid", message: told });
    });
  }
});

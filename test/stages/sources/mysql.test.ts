import assert from "node:assert/strict";
import { readFile } from "node:fs/promises";
import { createServer } from "node:net";
import { setTimeout as sleep } from "node:timers/promises";
import * as v from "valibot";
import { mysql } from "../../../src/stages/sources/mysql.ts";
import type { RowBatch } from "../../../src/stages/nouns.ts";
import { openDesk } from "../../cli/spawn-cli.ts";
import {
  checkStageContract,
  collect,
  type TestContext,
  testContext,
} from "../../contract/stage-contract.ts";
import { isEmptyTable, nothing, refuses, tuplesOf } from "../../fixtures/sources.ts";
import { type MariaDb, mariadbInstalled, startMariadb } from "../../servers/mariadb.ts";
import { startTcpProxy, type TcpProxy } from "../../servers/tcp-proxy.ts";

describe("mysql", () => {
  let server: MariaDb;

  before(async function () {
    if (!mariadbInstalled()) {
      console.log("      MariaDB is not installed (mariadb-server): not tested here");
      this.skip();
    }
    this.timeout(60_000);
    server = await startMariadb(["--log-bin", "--server-id=7", "--binlog-format=row"]);
    await server.execute(
      "create table t (id int primary key, note varchar(40)) engine=InnoDB",
      "insert into t select seq, concat('note ', seq) from seq_1_to_30000",
    );
  });
  after(() => server?.stop());

  const open = (given: Record<string, unknown>, ctx: TestContext = testContext()) => {
    const config = v.parse(mysql.config, { url: server.url, ...given });
    return mysql.open(config, ctx, nothing());
  };
  const read = (query: string, given: Record<string, unknown> = {}) =>
    collect(open({ query, ...given }));

  checkStageContract({
    stage: mysql,
    config: () => ({ url: server?.url ?? "mysql://h/d", query: "select * from t order by id" }),
    required: ["url", "query"],
    wrong: {
      url: "postgres://h/d",
      query: 7,
      params: "1",
      maxRecord: "big",
      timeout: "long",
      connectTimeout: 0,
    },
    // Each opening has a snapshot of its own time.
    contentOf: (batches) => ({
      tuples: tuplesOf(batches),
      columns: batches.at(-1)?.columns,
      rows: batches.at(-1)?.end?.rows,
    }),
    empty: {
      config: () => ({ url: server.url, query: "select * from t where false" }),
      check: isEmptyTable,
    },
  });

  it("gives rows in the order of the query and ends with the proof of its snapshot", async () => {
    const batches = await read("select id from t order by id desc");
    assert.ok(batches.length > 3);
    assert.deepEqual(
      tuplesOf(batches).map(([id]) => Number(id)),
      Array.from({ length: 30_000 }, (_, index) => 30_000 - index),
    );
    const { rows, consistency } = batches.at(-1)!.end!;
    assert.equal(rows, 30_000);
    assert.equal(consistency.class, "snapshot");
    assert.match(String(consistency.proof["server"]), /MariaDB/);
    assert.match(String(consistency.proof["binlogFile"]), /bin\.\d+$/);
    assert.ok(Number(consistency.proof["binlogPosition"]) > 0);
  });

  it("loses nothing of a value", async () => {
    await server.execute(
      `create table v (a bigint, b bigint unsigned, c decimal(38,10), d float, e double, f datetime(6), g timestamp(3) null,
        h date, i time(6), j json, k bit(10), l varbinary(9), m text, n enum('x','y'), o set('a','b'), p char(3) character set latin1)`,
      `set statement time_zone='+02:00', sql_mode='' for insert into v values (-9223372036854775808, 18446744073709551615,
        -1234567890123456789012345678.0123456789, 16777216, 0.1, '2024-01-02 03:04:05', '2024-01-02 03:04:05.12',
        '0000-00-00', '-838:59:59.000001', '{"a": 1.10}', b'1000000001', x'00ff', '😀"', 'y', 'a,b', 'é')`,
      "insert into v (a) values (null)",
    );
    const [batch] = await read("select *, cast(0.1 as float) as q, '' as q from v");
    const nulls = Array.from({ length: 16 }, () => null);
    assert.deepEqual(batch?.rows, [
      [
        "-9223372036854775808",
        "18446744073709551615",
        "-1234567890123456789012345678.0123456789",
        "16777216",
        "0.1",
        "2024-01-02 03:04:05.000000",
        "2024-01-02 01:04:05.120+00",
        "0000-00-00",
        "-838:59:59.000001",
        '{"a": 1.10}',
        "513",
        "\\x00ff",
        '😀"',
        "y",
        "a,b",
        "é",
        "0.1",
        "",
      ],
      [...nulls, "0.1", ""],
    ]);
    assert.deepEqual(
      batch?.columns.map(({ name, type, json }) => `${name} ${type} ${json}`).slice(0, 11),
      [
        "a bigint number",
        "b bigint unsigned number",
        "c decimal(38,10) number",
        "d float number",
        "e double number",
        "f datetime timestamp",
        "g timestamp timestamptz",
        "h date string",
        "i time string",
        "j json json",
        "k bit number",
      ],
    );
  });

  it("gives columns of any name", async () => {
    const names = ["__proto__", "__defineGetter__", "constructor", "", "a`b", "__proto__"];
    const outputs = names.map((name, at) => `${at} as "${name}"`);
    const batches = await read(`select ${outputs.join(", ")}`);
    assert.deepEqual(tuplesOf(batches), [["0", "1", "2", "3", "4", "5"]]);
    const found = batches[0]?.columns.map(({ name }) => name);
    assert.deepEqual(found, names);
  });

  it("gives all rows, as UTF-8, whatever the server does with who logs in", async () => {
    await server.execute(
      "create user plain@'%'",
      "grant select on test.* to plain@'%'",
      "create table texts (id int, note varchar(20))",
      "insert into texts values (1, '€ “x” 😀'), (2, '€')",
      "set global init_connect = 'set names latin1, sql_select_limit = 1', global wait_timeout = 1, " +
        "global idle_transaction_timeout = 1, global idle_readonly_transaction_timeout = 1, global max_statement_time = 1",
    );
    try {
      const url = server.url.replace("root@", "plain@");
      const limits =
        "@@idle_transaction_timeout + @@idle_readonly_transaction_timeout + @@max_statement_time";
      const query = `select note, @@wait_timeout, ${limits} = 0 from texts where note like '€%' order by id`;
      const rows = tuplesOf(await read(query, { url }));
      assert.deepEqual(rows.map(String), ["€ “x” 😀,86400,1", "€,86400,1"]);
    } finally {
      await server.execute(
        "set global init_connect = '', global wait_timeout = default, " +
          "global idle_transaction_timeout = default, global idle_readonly_transaction_timeout = default, global max_statement_time = default",
      );
    }
  });

  it("reads one snapshot, whatever is written meanwhile", async () => {
    await server.execute("create table moving as select seq as id from seq_1_to_20000");
    const rows = open({ query: "select id from moving" })[Symbol.asyncIterator]();
    await rows.next();
    await server.execute("delete from moving", "insert into moving values (1)");
    assert.equal(await countRest(rows), 20_000);
  });

  it("says that tables without snapshots are in none", async () => {
    await server.execute("create table old (id int) engine=MyISAM", "insert into old values (1)");
    const ctx = testContext();
    const batches = await collect(open({ query: "select o.id from `old` as o" }, ctx));
    assert.equal(batches.at(-1)?.end?.consistency.class, "stream");
    assert.match(ctx.warnings.join(), /^old \(MyISAM\)/);
    await server.execute(
      "create table `of 2024-01` (id int) engine=MyISAM",
      "create table versions (id int) engine=MyISAM with system versioning",
      "create table `--` (id int) engine=MyISAM",
      "create table `a``b` (id int) engine=MyISAM",
    );
    for (const [from, kind] of [
      ["(select 1 as older) as a", "snapshot"],
      ["(select 2024-01 as 'of') as a", "snapshot"],
      ["`of 2024-01`", "stream"],
      ["versions", "stream"],
      ["`--`", "stream"],
      ["`a``b`", "stream"],
    ] as const) {
      const { consistency } = (await read(`select * from ${from}`)).at(-1)!.end!;
      assert.equal(consistency.class, kind, from);
    }
  });

  it("says so too of tables that a server knows by names in capitals as well", async () => {
    const folding = await startMariadb(["--lower-case-table-names=1"]);
    try {
      await folding.execute("create table visits (id int) engine=MyISAM");
      const batches = await read("select * from Visits", { url: folding.url });
      assert.equal(batches.at(-1)!.end!.consistency.class, "stream");
    } finally {
      await folding.stop();
    }
  });

  it("binds parameters, whole numbers as integers", async () => {
    const [batch] = await read("select ?, ?, ?, ? from t where id = ? limit ?", {
      params: ["' or 1", 1.5, true, null, 2, 1],
    });
    assert.deepEqual(batch?.rows, [["' or 1", "1.5", "1", null]]);
    await refuses(
      read("select ?", { params: [] }),
      /as many params as `\?`: 1; 0 given/,
      "source-refused",
    );
  });

  it("refuses what is not one SELECT, and what only the server understands", async () => {
    const queries = ["secret", "select 1; select 2", "update t set note = 'secret'", "commit"];
    for (const query of queries)
      await refuses(read(query), /one SELECT|only reads/, "source-refused");
    await refuses(read("select point(1, 2) as p"), /column "p".*ST_AsText/, "source-refused");
    assert.deepEqual(await server.execute("select note from t where id = 1"), [["note 1"]]);
  });

  it("refuses what the server alone takes for JSON; a cast makes a text of it", async () => {
    await server.execute("create table lax (j json)", "insert into lax values ('[1.]')");
    await refuses(read("select j from lax"), /of type JSON is none.* cast to char/);
    assert.deepEqual(tuplesOf(await read("select cast(j as char) from lax")), [["[1.]"]]);
  });

  it("tells an error after rows from their end", async () => {
    const query = "select if(id < 20000, id, (select seq from seq_1_to_2)) from t order by id";
    const rows = open({ query })[Symbol.asyncIterator]();
    await refuses(
      countRest(rows),
      /after \d+ rows \(error 1242, SQLSTATE 21000\)/,
      "source-refused",
    );
  });

  it("refuses a row larger than maxRecord before it is there whole", async () => {
    const query = "select 1 union all select repeat('x', 20000000)";
    await refuses(read(query, { maxRecord: "64KiB" }), /row 2.*larger than maxRecord/);
    const [batch] = await read("select repeat('x', 20000000)", { maxRecord: "32MiB" });
    assert.equal(String(tuplesOf(batch ? [batch] : [])[0]?.[0]).length, 20_000_000);
  });

  describe("behind a network that fails", () => {
    let proxy: TcpProxy;
    const query = "select a.id, repeat('x', 100) from t as a join seq_1_to_20 as b";
    const openHere = (given: Record<string, unknown> = {}) => {
      const url = server.url.replace(`:${server.port}/`, `:${proxy.port}/`);
      return open({ url, query, ...given })[Symbol.asyncIterator]();
    };

    beforeEach(async () => {
      proxy = await startTcpProxy(server.port);
    });
    afterEach(() => proxy.close());

    it("ends when the connection is lost while rows flow", async () => {
      const rows = openHere();
      await rows.next();
      proxy.end();
      await refuses(
        countRest(rows),
        /connection to the server ended after \d+ rows/,
        "source-failed",
      );
    });

    it("ends when the server says nothing for longer than `timeout`", async () => {
      const rows = openHere({ timeout: "300ms" });
      await rows.next();
      proxy.mode = "black-hole";
      await refuses(countRest(rows), /said nothing for 300 ms/, "source-failed");
    });

    it("leaves the rest with the server while nobody takes rows, for longer than `timeout`", async () => {
      const rows = openHere({ timeout: "300ms" });
      await rows.next();
      await sleep(200);
      const bytes = proxy.bytesToClient;
      await sleep(400);
      assert.equal(proxy.bytesToClient, bytes);
      assert.equal(await countRest(rows), 600_000);
    });
  });

  it("hears what came while this thread was busy, for longer than `timeout`", async () => {
    const reading = read("select sleep(0.25)", { timeout: "300ms" });
    await sleep(150);
    // Behind it timers come first, then what has arrived.
    await new Promise(setImmediate);
    for (const until = performance.now() + 400; performance.now() < until;);
    assert.deepEqual(tuplesOf(await reading), [["0"]]);
  });

  it("ends when its query or its connection is killed", async () => {
    for (const [what, message] of [
      ["query", /error 1317/],
      ["connection", /connection to the server ended|error 1927/],
    ] as const) {
      const query = "select id, sleep(0.01) from t";
      const rows = countRest(open({ query })[Symbol.asyncIterator]());
      const refused = refuses(rows, message, "source-failed");
      await killRunning(query, what);
      await refused;
    }
  });

  it("stops the server when the run is stopped", async () => {
    const ctx = testContext();
    const query = "select sleep(60), 'stopped'";
    const ended = assert.rejects(collect(open({ query }, ctx)), /the run is stopped/);
    await findRunning(query);
    ctx.controller.abort(new Error("the run is stopped"));
    await ended;
    const deadline = Date.now() + 5000;
    while ((await running(query)).length > 0) assert.ok(Date.now() < deadline, "it still runs");
  });

  it("wants TLS from a server elsewhere, and says what declines it", async () => {
    const url = server.url.replace("127.0.0.1", "0.0.0.0");
    await refuses(read("select 1", { url }), /TLS could not be agreed.*ssl-mode/, "source-refused");
    assert.equal((await read("select 1", { url: `${url}?ssl-mode=disabled` })).length, 2);
  });

  it("tells a wrong login, a wrong URL, nobody and silence apart", async () => {
    const url = server.url.replace("root@", "nobody:secret@");
    await refuses(read("select 1", { url }), /refused the login \(error 1045/, "source-refused");
    for (const wrong of ["?ssl=secret", "?ssl-mode=secret", "?ssl-ca=/secret"])
      await refuses(
        read("select 1", { url: server.url + wrong }),
        /`url` cannot/,
        "config-invalid",
      );
    const silent = createServer(() => {});
    await new Promise<void>((resolve) => silent.listen(0, "127.0.0.1", resolve));
    const { port } = silent.address() as { port: number };
    const mute = { url: `mysql://127.0.0.1:${port}/test`, connectTimeout: "200ms" };
    await refuses(read("select 1", mute), /cannot be reached/, "source-unreachable");
    await new Promise((resolve) => silent.close(resolve));
    await refuses(read("select 1", mute), /cannot be reached/, "source-unreachable");
  });

  it("is read by its example, and the export goes its whole way", async function () {
    this.timeout(30_000);
    await server.execute(
      "create table visit as select seq as id, seq / 7 as amount, 'é' as note from seq_1_to_5000",
    );
    const desk = await openDesk();
    try {
      const name = "mysql-to-folder.yaml";
      const text = await readFile(new URL(`../../../examples/${name}`, import.meta.url), "utf8");
      await desk.write(name, text.replace(/encrypt: .*/, "encrypt: none"));
      const { code, stderr } = await desk.cli(["run", name, "-q"], { MYSQL_URL: server.url });
      assert.equal(code, 0, stderr);
      const { stdout } = await desk.cli(["cat", "exports/visits"]);
      const expected = await server.execute(
        'select concat(\'{"id":\', id, \',"amount":\', amount, \',"note":"é"}\') from visit where amount >= 10 order by id',
      );
      assert.equal(stdout, expected.map(([line]) => `${String(line)}\n`).join(""));
    } finally {
      await desk.remove();
    }
  });

  const running = (query: string) =>
    server.execute(
      `select id from information_schema.processlist where info = 0x${Buffer.from(query).toString("hex")}`,
    );

  async function findRunning(query: string): Promise<number> {
    for (;;) {
      const [[id] = []] = await running(query);
      if (id !== undefined) return Number(id);
      await sleep(10);
    }
  }

  async function killRunning(query: string, what: string): Promise<void> {
    await server.execute(`kill ${what} ${await findRunning(query)}`);
  }
});

/** Reads on to the end; gives the number of rows the end states. */
async function countRest(rows: AsyncIterator<RowBatch>): Promise<number> {
  let count = -1;
  for (let next = await rows.next(); !next.done; next = await rows.next()) {
    count = next.value.end?.rows ?? count;
  }
  return count;
}

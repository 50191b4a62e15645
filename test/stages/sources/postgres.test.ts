/** The row path against a real server: batches, proof of the end, refusals. */
import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import { createServer } from "node:net";
import * as v from "valibot";
import { demoQuery, demoStatements } from "../../../src/cli/demo-rows.ts";
import type { PipelineError } from "../../../src/errors.ts";
import { postgres } from "../../../src/stages/sources/postgres.ts";
import {
  openSource,
  ownPostgres,
  readSource,
  runSql,
  sharedPostgres,
} from "../../servers/postgres.ts";

let url = "";

before(async () => {
  ({ url } = await sharedPostgres());
});

const countRows = (batches: readonly { rows: readonly unknown[] }[]): number =>
  batches.reduce((rows, batch) => rows + batch.rows.length, 0);

async function refusal(config: v.InferInput<typeof postgres.config>): Promise<PipelineError> {
  let failure: PipelineError | undefined;
  await readSource(config).catch((error: PipelineError) => (failure = error));
  assert.ok(failure, "it fails");
  assert.equal(failure.cause, undefined);
  return failure;
}

describe("postgres", () => {
  it("ends with an empty batch that carries the proof", async () => {
    const query = "select g from generate_series(1, 3) g";
    const batches = await readSource({ url, query });
    assert.deepEqual(batches[0]?.rows, [["1"], ["2"], ["3"]]);
    const { end, rows } = batches.at(-1) ?? assert.fail();
    assert.deepEqual(rows, []);
    assert.equal(end?.rows, 3);
    assert.equal(end.queryDigest, createHash("sha256").update(query).digest("hex"));
    assert.equal(end.consistency.class, "snapshot");
    const { snapshot, lsn, serverVersion, database, transactionTime } = end.consistency.proof;
    assert.match(String(snapshot), /^\d+:\d+:/);
    assert.match(String(lsn), /^[0-9A-F]+\/[0-9A-F]+$/);
    assert.match(String(serverVersion), /^18\./);
    assert.equal(database, "postgres");
    assert.match(String(transactionTime), /^\d{4}-\d\d-\d\d .*\+00$/);
  });

  it("gives one batch with columns, expectation and end when there are no rows", async () => {
    const batches = await readSource({ url, query: "select 1 as a, 2 as b where false" });
    assert.equal(batches.length, 1);
    assert.deepEqual(
      batches[0]?.columns.map(({ name }) => name),
      ["a", "b"],
    );
    assert.equal(batches[0]?.end?.rows, 0);
    assert.equal(typeof batches[0]?.expects?.rows, "number");
  });

  it("reads one row", async () => {
    const batches = await readSource({ url, query: "select 'x'" });
    assert.deepEqual(
      batches.map(({ rows, end }) => [rows, end?.rows]),
      [
        [[["x"]], undefined],
        [[], 1],
      ],
    );
  });

  it("states exactly as many rows as it gave, for counts around the first fetches", async () => {
    for (const rows of [63, 64, 65, 191, 192, 193, 448]) {
      const batches = await readSource({ url, query: `select generate_series(1, ${rows})` });
      assert.equal(countRows(batches), rows);
      assert.equal(batches.at(-1)?.end?.rows, rows);
    }
  });

  it("reads 200 000 rows in order, in batches of about the asked size", async () => {
    const batchBytes = 256 * 1024;
    let next = 1;
    let widest = 0;
    for await (const batch of openSource({
      url,
      query: "select g, repeat('x', 20) from generate_series(1, 200000) g",
      batch: batchBytes,
    })) {
      for (const [g] of batch.rows as string[][]) assert.equal(Number(g), next++);
      widest = Math.max(widest, batch.bytes);
      if (batch.end) assert.equal(batch.end.rows, 200_000);
    }
    assert.equal(next, 200_001);
    assert.ok(widest > 0.9 * batchBytes && widest < 1.1 * batchBytes, `widest ${widest}`);
  });

  it("gives nothing larger than planned when rows widen a hundredfold within a fetch", async () => {
    const batchBytes = 64 * 1024;
    const query =
      "select repeat('x', case when g < 20000 then 50 else 5000 end) from generate_series(1, 22000) g";
    const batches = await readSource({ url, query, batch: batchBytes });
    assert.equal(countRows(batches), 22_000);
    for (const { bytes } of batches) assert.ok(bytes < batchBytes + 6000, `${bytes}`);
  });

  it("closes the connection when its consumer leaves", async () => {
    const source = openSource({ url, query: "select 'leaves', generate_series(1, 1000000)" });
    await source.next();
    const backends =
      "select count(*) from pg_stat_activity where query like '%''leaves''%' and pid <> pg_backend_pid()";
    assert.deepEqual(await runSql(url, backends), [["1"]]);
    await source.return(undefined);
    await new Promise((resolve) => setTimeout(resolve, 50));
    assert.deepEqual(await runSql(url, backends), [["0"]]);
  });

  it("expects about as many rows as the planner does", async () => {
    await runSql(url, "drop table if exists observation", ...demoStatements(20_000));
    const [first, ...others] = await readSource({ url, query: `${demoQuery};` });
    assert.deepEqual(first?.expects, { rows: 20_000, exact: false });
    assert.ok(others.every(({ expects }) => expects === undefined));
    assert.equal(countRows([first, ...others]), 20_000);
  });

  it("does without an expectation where the planner cannot tell", async () => {
    const batches = await readSource({ url, query: "select current_setting('statement_timeout')" });
    assert.deepEqual(batches[0]?.rows, [["0"]]);
    const shown = await refusal({ url, query: "show server_version" });
    assert.equal(shown.code, "source-refused");
    assert.match(shown.message, /states no row count/);
  });

  it("reads one snapshot: rows committed later do not appear", async () => {
    await runSql(
      url,
      "create table if not exists one_snapshot as select generate_series(1, 5000) as g",
    );
    const source = openSource({
      url,
      query: "select g, pg_is_in_recovery() from one_snapshot",
      batch: 4096,
    });
    let rows = (await source.next()).value?.rows.length ?? 0;
    await runSql(
      url,
      "insert into one_snapshot select 1 from generate_series(1, 5000)",
      "delete from one_snapshot where g > 100",
    );
    for await (const batch of source) rows += batch.rows.length;
    assert.equal(rows, 5000);
  });

  it("prints values alike whatever the role's settings are", async () => {
    const query =
      "select current_setting('DateStyle'), '1 day 2 hours'::interval, '2024-02-01 12:00+02'::timestamptz, 'a'::bytea, 0.1::float4::float8, current_setting('application_name')";
    const options = encodeURIComponent(
      "-c datestyle=German -c intervalstyle=iso_8601 -c timezone=Asia/Tokyo -c bytea_output=escape -c extra_float_digits=-3",
    );
    const batches = await readSource({ url: `${url}?options=${options}`, query });
    assert.deepEqual(batches[0]?.rows, [
      [
        "ISO, YMD",
        "1 day 02:00:00",
        "2024-02-01 10:00:00+00",
        "\\x61",
        "0.10000000149011612",
        "spillway",
      ],
    ]);
  });
});

describe("postgres: what it refuses", () => {
  it("refuses several statements", async () => {
    const failure = await refusal({ url, query: "select 1; select 2" });
    assert.equal(failure.code, "source-refused");
    assert.match(failure.message, /more than one statement/);
  });

  it("refuses statements that give no rows, or write", async () => {
    for (const query of ["set timezone = 'UTC'", "-- nothing", "create table nope ()"]) {
      assert.match((await refusal({ url, query })).message, /gives no rows; expected a select/);
    }
    const write = await refusal({
      url,
      query: "with gone as (delete from pg_class returning 1) select * from gone",
    });
    assert.equal(write.code, "source-refused");
    assert.match(write.message, /25006.*only reads/);
  });

  it("says where a query is wrong, with the SQLSTATE and nothing of the server's text", async () => {
    const failure = await refusal({ url, query: "select secret_name from nowhere" });
    assert.equal(failure.code, "source-refused");
    assert.match(
      failure.message,
      /at character 25 \(SQLSTATE 42P01, syntax error or access rule violation\)/,
    );
    assert.doesNotMatch(failure.message, /nowhere|secret_name/);
    assert.equal(failure.exitCode, 4);
  });

  it("keeps row values and parameters out of errors", async () => {
    const failure = await refusal({
      url,
      query:
        "select case when g < 1000 then '1' else $1::text end :: int from generate_series(1, 5000) g",
      params: ["123-45-6789 JOHN"],
    });
    assert.equal(failure.code, "source-refused");
    assert.match(failure.message, /SQLSTATE 22P02, data exception/);
    assert.doesNotMatch(
      JSON.stringify([failure.message, failure.stack, failure.details]),
      /JOHN|6789/,
    );
  });

  it("keeps an error as long as a value to its code", async () => {
    const failure = await refusal({
      url,
      query:
        "select repeat(case when g = 300 then 'secret' else '1' end, 1 + (g / 300) * 5000000)::numeric from generate_series(1, 300) g",
    });
    assert.equal(failure.code, "source-refused");
    assert.match(failure.message, /SQLSTATE 22P02, data exception/);
    assert.doesNotMatch(
      JSON.stringify([failure.message, failure.stack, failure.details]),
      /secret/,
    );
  });

  it("stops at the statement's own time limit", async () => {
    const failure = await refusal({ url, query: "select pg_sleep(5)", statementTimeout: "100ms" });
    assert.equal(failure.code, "source-failed");
    assert.match(failure.message, /57014.*statementTimeout/);
  });

  it("names the lock it could not get", async () => {
    await runSql(url, "create table if not exists locked_rows (a int)");
    const holder = runSql(url, "begin", "lock locked_rows", "select pg_sleep(1.5)", "commit");
    await new Promise((resolve) => setTimeout(resolve, 200));
    const failure = await refusal({ url, query: "select * from locked_rows", timeout: "500ms" });
    assert.equal(failure.code, "source-failed");
    assert.match(failure.message, /55P03.*locks/);
    await holder;
  });

  it("refuses a row wider than 64 MiB before reading it, with row and column", async () => {
    const failure = await refusal({
      url,
      query:
        "select g as id, case when g = 1001 then repeat('x', 80000000) end as note, 1 as z from generate_series(1, 2000) g",
      batch: "64KiB",
    });
    assert.equal(failure.code, "source-bad-data");
    assert.match(
      failure.message,
      /^row 1001 is 76\.3 MiB wide \(column "note"\); expected at most 64 MiB.*raise `batch`/,
    );
    assert.deepEqual(failure.details, { row: 1001, bytes: 80_000_024, column: "note" });
  });

  // Half a minute and two gigabytes on the server: run with SPILLWAY_SLOW=1.
  const slowly = process.env["SPILLWAY_SLOW"] ? it : it.skip;
  slowly(
    "refuses a value beyond the longest string of V8 instead of an uncaught exception",
    async () => {
      const failure = await refusal({
        url,
        query: "select 'a', repeat('x', 600000000) as note",
        batch: "1GiB",
      });
      assert.equal(failure.code, "source-bad-data");
      assert.match(
        failure.message,
        /^row 1 is 572 MiB wide \(column "note"\); expected at most 512 MiB.*leave the column out/,
      );
    },
  ).timeout(120_000);

  it("reads rows of 20 MB whatever `batch` is, and of four batches where that is more", async () => {
    for (const [batch, characters] of [
      ["64KiB", 10_000_000],
      ["20MiB", 36_000_000],
    ] as const) {
      const query = `select repeat('ü', ${characters}), generate_series(1, 2)`;
      const batches = await readSource({ url, query, batch });
      assert.deepEqual(
        batches.flatMap(({ rows }) => (rows as string[][]).map(([text]) => text?.length)),
        [characters, characters],
      );
    }
  });

  it("refuses a wrong password, an unknown database and TLS the server does not speak", async () => {
    const guarded = await ownPostgres({ auth: "scram" });
    const query = "select 1";
    try {
      assert.equal((await readSource({ url: guarded.url, query })).length, 2);
      const wrong = await refusal({ url: guarded.url.replace(/:[^:@]+@/, ":wrong-word@"), query });
      assert.equal(wrong.code, "source-refused");
      assert.match(wrong.message, /28P01/);
      assert.doesNotMatch(wrong.message, /wrong-word/);
      const none = await refusal({ url: guarded.url.replace(/:[^:@]+@/, "@"), query });
      assert.deepEqual([none.code, /password/.test(none.message)], ["source-refused", true]);
      const nowhere = await refusal({ url: guarded.url.replace(/postgres$/, "nowhere"), query });
      assert.deepEqual([nowhere.code, /3D000/.test(nowhere.message)], ["source-refused", true]);
      const plain = await refusal({ url: `${guarded.url}?sslmode=verify-full`, query });
      assert.deepEqual([plain.code, /TLS/.test(plain.message)], ["source-refused", true]);
    } finally {
      await guarded.stop();
    }
  });

  it("calls a server that is not there unreachable", async () => {
    const failure = await refusal({ url: "postgres://a@127.0.0.1:1/b", query: "select 1" });
    assert.deepEqual([failure.code, failure.retriable], ["source-unreachable", true]);
    assert.match(failure.message, /ECONNREFUSED/);
  });

  it("calls a server that does not greet unreachable, after connectTimeout", async () => {
    const silent = createServer().listen(0, "127.0.0.1");
    await new Promise((resolve) => silent.once("listening", resolve));
    const address = silent.address();
    const port = typeof address === "object" ? address?.port : 0;
    const started = performance.now();
    const failure = await refusal({
      url: `postgres://a@127.0.0.1:${port}/b`,
      query: "select 1",
      connectTimeout: "200ms",
    });
    assert.equal(failure.code, "source-unreachable");
    assert.match(failure.message, /no answer in time/);
    assert.ok(performance.now() - started < 1500);
    silent.close();
  });

  it("refuses wrong config with its path", () => {
    const { issues } = v.safeParse(postgres.config, {
      url: "mysql://x",
      query: "",
      batch: "1 parsec",
      retries: 3,
    });
    assert.deepEqual(issues?.map((issue) => v.getDotPath(issue)).sort(), [
      "batch",
      "query",
      "retries",
      "url",
    ]);
  });
});

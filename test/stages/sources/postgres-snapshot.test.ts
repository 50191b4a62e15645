/** What other sessions do between our snapshot and our first look at a table: never an export that lacks rows. */
import assert from "node:assert/strict";
import { readSource, runSql, sharedPostgres } from "../../servers/postgres.ts";
import { startForwardingProxy } from "../../servers/lossy-proxy.ts";
import { writeRecords } from "./postgres-wire/wire-records.ts";

/** Reads table `table` while `statements` run just before the server sees the `nth` message that speaks of it. */
async function readAmid(table: string, nth: number, statements: readonly string[]) {
  const { url } = await sharedPostgres();
  const { port } = new URL(url);
  let seen = 0;
  const proxy = await startForwardingProxy(
    Number(port),
    (bytes, client) => client.write(bytes),
    async (bytes) => {
      if (bytes.includes(table) && (seen += 1) === nth) await runSql(url, ...statements);
    },
  );
  const config = {
    url: url.replace(`:${port}`, `:${proxy.port}`),
    query: `select * from ${table}`,
  };
  return {
    proxy,
    rows: async () => (await readSource(config)).at(-1)?.end?.rows,
    wire: async () => (await writeRecords(config, "ndjson")).last.end?.rows,
    seen: () => seen,
  };
}

const hidden = { code: "source-failed", message: /emptied, rewritten or replaced just after/ };

describe("the snapshot of an export", () => {
  const make = async (table: string, suffix = "") => {
    const { url } = await sharedPostgres();
    await runSql(
      url,
      `drop table if exists ${table}`,
      `create table ${table}${suffix} as select g as id from generate_series(1, 100) g`,
    );
  };

  it("refuses a table that was emptied, rewritten or replaced after it was taken", async () => {
    const harms = [
      ["truncate late_table"],
      ["alter table late_table alter column id type bigint"],
      ["drop table late_table", "create table late_table as select 1 as id"],
    ];
    for (const harm of harms) {
      for (const path of ["rows", "wire"] as const) {
        await make("late_table");
        const read = await readAmid("late_table", 1, harm);
        await assert.rejects(read[path](), hidden, `${harm.join("; ")} on the path of ${path}`);
        await read.proxy.close();
      }
    }
  });

  it("refuses a partition that was emptied before the query itself looked at it", async () => {
    const { url } = await sharedPostgres();
    await runSql(
      url,
      "create table late_parts (id int) partition by range (id)",
      "create table late_part partition of late_parts for values from (0) to (1000)",
      "insert into late_parts select generate_series(1, 100)",
    );
    // The query is described, explained, and run.
    const read = await readAmid("late_parts", 3, ["truncate late_part"]);
    await assert.rejects(read.wire(), hidden);
    assert.equal(read.seen(), 3);
    await read.proxy.close();
  });

  it("does not mind what does follow snapshots, or is no table", async () => {
    await make("calm_table");
    const read = await readAmid("calm_table", 1, [
      "delete from calm_table where id > 50",
      "insert into calm_table values (1000)",
      "create index calm_index on calm_table (id)",
      "analyze calm_table",
    ]);
    assert.equal(await read.rows(), 100);
    await read.proxy.close();
  });

  it("outlives a limit of the server for pauses of the network", async () => {
    const { url } = await sharedPostgres();
    await runSql(
      url,
      "create role hurried login superuser",
      "alter role hurried set tcp_user_timeout = 500",
    );
    const query = "select current_setting('tcp_user_timeout')";
    const [batch] = await readSource({ url: url.replace("postgres@", "hurried@"), query });
    assert.deepEqual(batch?.rows, [["0"]]);
  });
});

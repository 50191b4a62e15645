/** What the network, the server, an administrator and an abort do to a fast read: an error in time, never an end. */
import assert from "node:assert/strict";
import { setTimeout as sleep } from "node:timers/promises";
import { RowWalker } from "../../../../src/stages/sources/postgres-wire/data-rows.ts";
import { recordLayouts } from "../../../../src/stages/sources/postgres-wire/record-layouts.ts";
import { describeQuery } from "../../../../src/stages/sources/postgres-types.ts";
import { isBinaryKind } from "../../../../src/stages/sources/postgres-wire/value-kinds.ts";
import { WireQuery } from "../../../../src/stages/sources/postgres-wire/wire-query.ts";
import { checkRecordFaults, failureOf } from "../../../contract/record-faults.ts";
import { startForwardingProxy, startLossyProxy } from "../../../servers/lossy-proxy.ts";
import { useFaultyPostgres } from "../../../servers/postgres-faults.ts";
import { type Config, openRecords } from "./wire-records.ts";

const dataRow = 0x44;
const postgres = useFaultyPostgres();
const failure = (config: Config) => failureOf(openRecords(config, "ndjson"));

describe("postgres straight to records, under faults", () => {
  checkRecordFaults(
    {
      tag: "wire",
      open: (asked, signal) => openRecords(asked, "ndjson", { ...(signal && { signal }) }),
      textOf: (numbers) => numbers.map((number) => `{"g":${number}}\n`).join(""),
      async ask(session, count) {
        const query = `select g, 'given back' as t from generate_series(1, ${count}) g`;
        const { columns, oids, sql } = await describeQuery(session, query, "json");
        const typed = columns.map((column, index) => ({ ...column, oid: oids[index]! }));
        const layout = recordLayouts["ndjson"]!(typed);
        const isBinary = layout.columns.map(({ kind }) => isBinaryKind(kind));
        return new WireQuery(
          session,
          { sql, values: [], isBinary },
          (onMessage) => new RowWalker(layout, 100_000, onMessage),
        );
      },
    },
    postgres,
  );

  it("fails on a connection that ended after any byte of the answer", async () => {
    const query = "select 'wire-cut', g, repeat('x', g % 50) from generate_series(1, 200) g";
    let left = Number.POSITIVE_INFINITY;
    let passed = 0;
    const cutter = await startForwardingProxy(
      Number(new URL(postgres.direct).port),
      (bytes, client) => {
        passed += bytes.length;
        client.write(bytes.subarray(0, left));
        left -= bytes.length;
        if (left <= 0) client.end();
      },
    );
    const config = { url: postgres.direct.replace(/:\d+\//, `:${cutter.port}/`), query };
    const source = openRecords(config, "ndjson");
    await source.next();
    passed = 0;
    await source.next();
    await source.return(undefined);
    const answerBytes = passed;
    assert.ok(answerBytes > 9000);
    for (
      let bytes = 0;
      bytes < answerBytes;
      bytes += bytes < 30 || bytes > answerBytes - 40 ? 7 : 997
    ) {
      left = Number.POSITIVE_INFINITY;
      const cut = openRecords(config, "ndjson");
      await cut.next();
      left = bytes;
      await assert.rejects(
        async () => {
          for await (const batch of cut) assert.equal(batch.end, undefined);
        },
        { code: "source-failed" },
        `${bytes} of ${answerBytes}`,
      );
    }
    await cutter.close();
    await postgres.assertGone("wire-cut");
  });

  it("does not count the consumer's pauses as silence", async () => {
    let records = 0;
    const query = "select 'slow', repeat('x', 1000) from generate_series(1, 4000)";
    for await (const batch of openRecords(
      { url: postgres.url, query, timeout: "200ms" },
      "ndjson",
    )) {
      records += batch.ends.length;
      await sleep(300);
    }
    assert.equal(records, 4000);
  });
});

describe("postgres straight to records: what the server says", () => {
  it("notices a row that got lost on the way", async () => {
    for (const lost of [1, 300]) {
      const lossy = await startLossyProxy(
        Number(new URL(postgres.direct).port),
        dataRow,
        (row) => row === lost,
      );
      const lossyUrl = postgres.direct.replace(/:\d+\//, `:${lossy.port}/`);
      const error = await failure({
        url: lossyUrl,
        query: "select generate_series(1, 300), 'lossy'",
      });
      await lossy.close();
      assert.equal(error.code, "source-failed");
      assert.match(error.message, /states 300 rows but sent 299/);
    }
  });

  it("stops at an error in the middle, with the rows before it counted", async () => {
    const query = "select 1 / (100000 - g), repeat('x', 50) from generate_series(1, 200000) g";
    const error = await failure({ url: postgres.url, query });
    assert.equal(error.code, "source-refused");
    assert.match(error.message, /after 99999 rows.*22012/);
    assert.deepEqual(error.details, { rows: 99_999, sqlstate: "22012" });
  });

  it("stops at the statement's own time limit", async () => {
    const error = await failure({
      url: postgres.url,
      query: "select pg_sleep(5)",
      statementTimeout: "100ms",
    });
    assert.equal(error.code, "source-failed");
    assert.match(error.message, /57014.*statementTimeout/);
  });

  it("refuses what is no single select", async () => {
    for (const [query, message] of [
      ["select 1; select 2", /more than one statement/],
      ["set timezone = 'UTC'", /gives no rows/],
      ["-- nothing", /gives no rows/],
      ["show server_version", /states no row count/],
      ["select secret_name from nowhere", /SQLSTATE 42P01/],
    ] as const) {
      const error = await failure({ url: postgres.url, query });
      assert.equal(error.code, "source-refused");
      assert.match(error.message, message);
      assert.doesNotMatch(error.message, /nowhere|secret_name/);
    }
  });
});

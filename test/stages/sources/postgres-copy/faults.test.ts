/** What the network, the server, an administrator and an abort do to a COPY: an error in time, never an end. */
import assert from "node:assert/strict";
import { CopyWalker } from "../../../../src/stages/sources/postgres-copy/copy-walker.ts";
import { WireQuery } from "../../../../src/stages/sources/postgres-wire/wire-query.ts";
import { checkRecordFaults, failureOf } from "../../../contract/record-faults.ts";
import { startLossyProxy } from "../../../servers/lossy-proxy.ts";
import { useFaultyPostgres } from "../../../servers/postgres-faults.ts";
import { type Config, copyOptions, formats, openCopy } from "./copy-files.ts";

const copyData = 0x64;
const postgres = useFaultyPostgres();

describe("a COPY under faults", () => {
  checkRecordFaults(
    {
      tag: "copy",
      open: (asked, signal) => openCopy({ ...asked, format: "csv" }, { ...(signal && { signal }) }),
      textOf: (numbers) => `g\n${numbers.map((number) => `${number}\n`).join("")}`,
      async ask(session, count) {
        const query = `select g, 'given back' from generate_series(1, ${count}) g`;
        const sql = `copy (${query}) to stdout (${copyOptions.binary})`;
        return new WireQuery(
          session,
          { sql, values: [], isBinary: [] },
          (onMessage) => new CopyWalker("binary", 100_000, onMessage),
        );
      },
    },
    postgres,
  );

  it("fails on a connection that ended after any part of the answer", async () => {
    const query = "select 'copy-cut', g, repeat('x', g % 50) from generate_series(1, 200) g";
    for (const format of formats) {
      const config: Config = { url: postgres.url, query, format };
      const before = openCopy(config);
      await before.next();
      const asked = postgres.proxy.bytesToClient;
      for await (const batch of before) assert.ok(batch.bytes);
      const answerBytes = postgres.proxy.bytesToClient - asked - 100;
      assert.ok(answerBytes > 7000);
      for (let bytes = 1; bytes < answerBytes; bytes += 1499) {
        const cut = openCopy(config);
        await cut.next();
        postgres.proxy.cutAfter(bytes);
        await assert.rejects(
          async () => {
            for await (const batch of cut) assert.equal(batch.end, undefined);
          },
          { code: "source-failed" },
        );
      }
    }
    await postgres.assertGone("copy-cut");
  });
});

describe("a COPY and what the server says", () => {
  it("notices a row that got lost on the way", async () => {
    for (const format of formats) {
      const lossy = await startLossyProxy(
        Number(new URL(postgres.direct).port),
        copyData,
        (row) => row === 17,
      );
      const query = "select generate_series(1, 300), 'lossy'";
      const lossyUrl = postgres.direct.replace(/:\d+\//, `:${lossy.port}/`);
      const error = await failureOf(openCopy({ url: lossyUrl, query, format }));
      await lossy.close();
      assert.equal(error.code, "source-failed");
      assert.match(error.message, /states 300 rows but sent 299/);
    }
  });

  it("stops at an error in the middle, with the rows before it counted", async () => {
    const query = "select 1 / (100000 - g), repeat('secret', 9) from generate_series(1, 200000) g";
    for (const format of formats) {
      const error = await failureOf(openCopy({ url: postgres.url, query, format }));
      assert.equal(error.code, "source-refused");
      assert.match(error.message, /after 99999 rows.*22012/);
      assert.deepEqual(error.details, { rows: 99_999, sqlstate: "22012" });
    }
  });
});

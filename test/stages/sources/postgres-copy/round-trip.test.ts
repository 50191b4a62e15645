/** From a table to pages and back into a table, by PostgreSQL's own COPY alone. */
import assert from "node:assert/strict";
import { readFile } from "node:fs/promises";
import { basename, join } from "node:path";
import { definePipeline } from "../../../../src/pipeline/define.ts";
import { run } from "../../../../src/pipeline/run.ts";
import { restoreExport } from "../../../../src/readback/restore.ts";
import { verifyExport } from "../../../../src/readback/verify.ts";
import { chunk } from "../../../../src/stages/pages/chunk.ts";
import { compress } from "../../../../src/stages/pages/compress.ts";
import { encrypt } from "../../../../src/stages/pages/encrypt.ts";
import { spool } from "../../../../src/stages/pages/spool.ts";
import { upload } from "../../../../src/stages/pages/upload.ts";
import { postgresCopy } from "../../../../src/stages/sources/postgres-copy.ts";
import { copyIn, copyOut } from "../../../fixtures/copy.ts";
import { testEnv, useFolder } from "../../../fixtures/pipelines.ts";
import { corpusPostgres, typeQueries } from "../../../servers/postgres-corpus.ts";
import { runSql } from "../../../servers/postgres.ts";
import { copyOptions, formats, writeCopy } from "./copy-files.ts";

/** Values that a format could stumble over, beside every type of the corpus. */
const nasty = `
select g as id,
       (array[null, '', '\\.', E'\\\\.\\n', 'NULL', '\\N', E'a\\tb', E'two\\nlines\\r\\n', '"', ',', ' ', E'\\\\',
              'größer 測定 🩺', E'\\u2028', repeat('"\\', 3000)])[1 + g % 15] as t,
       case when g % 7 > 0 then decode(md5(g::text), 'hex') end as b,
       case when g % 5 > 0 then g / 7.0 end as n,
       timestamptz '2024-02-29 23:59:59.999999+00' + g * interval '1 second' as z,
       '1 mon 2 days -03:04:05.6'::interval as i,
       array[null, '', 'NULL', '"', E'\\\\'] as a,
       jsonb_build_object('n', g) as j,
       case g % 3 when 0 then 'NaN' when 1 then '-Infinity' else '0.1' end::float8 as f
from generate_series(0, 2999) g`;

const extensions = { csv: "csv", text: "pgtext", binary: "pgbinary" };

let url = "";
before(async () => {
  url = await corpusPostgres();
  await runSql(url, "drop table if exists copy_nasty", `create table copy_nasty as ${nasty}`);
});

describe("postgres-copy", () => {
  const folder = useFolder();

  for (const format of formats) {
    it(`prints every type as the server's own COPY does: ${format}`, async () => {
      const queries = { ...typeQueries, nasty: "select * from copy_nasty;", none: "select" };
      let refused = 0;
      for (const [name, query] of Object.entries(queries)) {
        const copied = await copyOut(url, query.replace(/;$/, ""), copyOptions[format]).catch(
          () => undefined,
        );
        const written = writeCopy({ url, query, format });
        if (copied) {
          const { file, records, last } = await written;
          assert.ok(file.equals(copied), name);
          assert.equal(last.end?.rows, records);
        } else {
          await assert.rejects(written, /no binary form.*42883/, name);
          refused += 1;
        }
      }
      // Access rights have no binary form; a row of the catalogue holds some.
      assert.equal(refused, format === "binary" ? 2 : 0);
    });

    it(`gives pages that are one file for COPY … FROM: ${format}`, async () => {
      const path = folder.next();
      const out = join(path, "out");
      const summary = await run(
        definePipeline({
          name: "copied",
          stages: [
            postgresCopy({ url, query: "select * from copy_nasty order by id", format }),
            chunk("16KiB"),
            compress("zstd"),
            encrypt("none"),
            spool({ dir: join(path, "spool") }),
            upload(out),
          ],
        }),
        { env: testEnv },
      );
      assert.equal(summary.rows, 3000);
      assert.ok(summary.pages > 20);
      const report = await verifyExport(out, { level: "full" });
      assert.deepEqual([report.problems, report.records], [[], 3000]);
      const { file } = await restoreExport(out, { to: join(path, "restored") });
      assert.equal(basename(file!), `copied.${extensions[format]}`);
      await runSql(
        url,
        "drop table if exists copy_back",
        "create table copy_back (like copy_nasty)",
      );
      await copyIn(url, "copy_back", copyOptions[format], await readFile(file!));
      const differing = await runSql(
        url,
        "select count(*) from (select to_jsonb(x)::text from copy_nasty x except all select to_jsonb(y)::text from copy_back y) d",
      );
      assert.deepEqual(differing, [["0"]]);
      assert.deepEqual(await runSql(url, "select count(*) from copy_back"), [["3000"]]);
    });
  }
});

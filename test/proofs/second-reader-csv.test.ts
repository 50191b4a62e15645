/** The second reader knows the dialects of CSV from docs/format.md alone, as the first one does. */
import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { run } from "../../src/pipeline/run.ts";
import { restoreExport } from "../../src/readback/restore.ts";
import { verifyExport } from "../../src/readback/verify.ts";
import {
  copyDialect,
  type CsvDialect,
  type CsvOptions,
} from "../../src/stages/formats/csv-dialect.ts";
import { makeExport, ndjsonPages } from "../fixtures/make-export.ts";
import { countedRows, makePipeline, testEnv, useFolder } from "../fixtures/pipelines.ts";
import { needTools } from "../fixtures/stock-tools.ts";

const reader = join(import.meta.dirname, "../../examples/read-export.py");

function read(verb: "verify" | "restore", folder: string) {
  const { status, stdout, stderr } = spawnSync("python3", [reader, verb, folder], {
    maxBuffer: 2 ** 26,
  });
  return { code: status, records: stdout, said: stderr.toString() };
}

/** Some are larger than a page, with all that hides the end of a record; of some, whole pages look like a byte order mark. */
const wideRow = (id: number) => ({
  id,
  text:
    id % 7 === 3
      ? `"',;]\r\n\\"${"é\\]'".repeat(3000)}`
      : id % 7 === 5
        ? "\ufeff".repeat(5000)
        : `row "${id}"\n; ]it's`,
});

const excel: CsvOptions = { delimiter: ";", lineEnd: "crlf", quoteAll: true, bom: true };

describe("the second reader of CSV", () => {
  const scratch = useFolder();
  before(function () {
    needTools(this, "python3", "openssl");
  });

  const shapes: [string, CsvOptions, number][] = [
    ["in single quotes, with a mark", { quote: "'", bom: true }, 30],
    ["for Excel", excel, 30],
    ["without names", { ...excel, header: false }, 30],
    ["whose quotes mean much elsewhere", { quote: "]", delimiter: "\\" }, 30],
    ["without rows", excel, 0],
    ["of nothing but its mark", { ...excel, header: false }, 0],
  ];
  for (const [name, dialect, rows] of shapes) {
    it(`reads what a run makes: ${name}`, async () => {
      const path = scratch.next();
      const parts = { source: countedRows({ rows, row: wideRow }), dir: join(path, "spool") };
      const pipeline = makePipeline({
        ...parts,
        to: join(path, "out"),
        format: "csv",
        compress: "gzip",
        dialect,
      });
      const { runId } = await run(pipeline, { env: testEnv });
      const folder = join(path, "out", "observations", runId);
      const { code, said, records } = read("restore", folder);
      assert.equal(code, 0, said);
      assert.match(said, new RegExp(`^${rows} records in \\d+ pages are right`));
      const { file, pages } = await restoreExport(folder, { to: path });
      assert.deepEqual(records, await readFile(file!));
      assert.equal(pages > 3, rows > 0);
    });
  }

  const refusals: [string, string, Partial<CsvDialect>, RegExp][] = [
    ["of what is no csv", "ndjson", {}, /layers in manifest\.json is not as format/],
    [
      "with one mark for two things",
      "csv",
      { quote: ";" },
      /dialect in manifest\.json is none of the format's/,
    ],
    ["of two characters between fields", "csv", { delimiter: ";;" }, /is not as format/],
    ["that hides records", "csv", { quote: "{" }, /does not hold the 10 records/],
  ];
  for (const [name, extension, change, says] of refusals) {
    it(`refuses a dialect ${name}`, async () => {
      const dialect = { ...copyDialect, header: false, delimiter: ";", ...change };
      const layers = { extension, compress: "gzip", encrypt: "none", dialect } as const;
      const options = { extension, compress: "gzip", changeHead: { layers } } as const;
      const { folder } = await makeExport(scratch.next(), ndjsonPages(30, 10), options);
      const { code, said } = read("verify", folder);
      assert.equal(code, 1, said);
      assert.match(said, says);
      const ours = verifyExport(folder, { level: "full" });
      const isOk = await ours.then(
        ({ ok }) => ok,
        () => false,
      );
      assert.equal(isOk, false);
    });
  }
});

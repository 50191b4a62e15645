/** CSV in every dialect, there and back: through pages, a source, a table, and whole runs. */
import assert from "node:assert/strict";
import { readFile } from "node:fs/promises";
import { join } from "node:path";
import * as fc from "fast-check";
import { run } from "../../src/pipeline/run.ts";
import { readExport } from "../../src/readback/read-export.ts";
import { restoreExport } from "../../src/readback/restore.ts";
import { verifyExport } from "../../src/readback/verify.ts";
import { dialectOf, toldDialect, type CsvOptions } from "../../src/stages/formats/csv-dialect.ts";
import type { Tuple } from "../../src/stages/nouns.ts";
import { readCsv } from "../../src/stages/sources/csv.ts";
import { postgres } from "../../src/stages/sources/postgres.ts";
import { collect } from "../contract/stage-contract.ts";
import { anyDialect, textsOf, usualDialects } from "../fixtures/csv-dialects.ts";
import { makeExport, type PlainPage } from "../fixtures/make-export.ts";
import {
  column,
  countedRows,
  makePipeline,
  testEnv,
  tupleBatches,
  useFolder,
} from "../fixtures/pipelines.ts";
import { inPieces, tuplesOf } from "../fixtures/sources.ts";
import { runSql, sharedPostgres } from "../servers/postgres.ts";
import { recordsOf } from "../stages/formats/written.ts";

interface Table {
  readonly dialect: CsvOptions;
  readonly rows: readonly Tuple[];
}

const anyTable: fc.Arbitrary<Table> = anyDialect.chain((dialect) =>
  fc.integer({ min: 1, max: 3 }).chain((width) => {
    const cell = fc.option(textsOf(dialect));
    const row = fc.array(cell, { minLength: width, maxLength: width });
    const rows = fc.array(row, { minLength: 1, maxLength: 5 });
    return fc.record({ dialect: fc.constant(dialect), rows });
  }),
);

const namesOf = (rows: readonly Tuple[]) => rows[0]!.map((_, at) => `c${at}`);

async function write({ dialect, rows }: Table) {
  const columns = namesOf(rows).map((name) => column(name));
  return (await recordsOf("csv", tupleBatches(columns, rows), dialect)).records;
}

const objectsOf = (rows: readonly Tuple[]) =>
  rows.map((row) => Object.fromEntries(row.map((cell, at) => [`c${at}`, cell])));

describe("dialects of CSV", () => {
  const folder = useFolder();

  const makeCsv = (pages: readonly PlainPage[], dialect: CsvOptions, names: readonly string[]) => {
    const told = toldDialect(dialect);
    const layers = {
      extension: "csv",
      compress: "zstd",
      encrypt: "none",
      ...(told && { dialect: told }),
    } as const;
    const schema = { columns: names.map((name) => ({ name, type: "text" })) };
    const options = { extension: "csv", changeHead: { layers, schema } };
    return makeExport(folder.next(), pages, options);
  };

  it("are read back from pages as they were written, wherever a record is cut", async () => {
    await fc.assert(
      fc.asyncProperty(anyTable, fc.nat(), async (table, at) => {
        const records = await write(table);
        const first = records.findIndex(({ framing }) => !framing);
        const before = records.slice(0, first).map(({ text }) => text);
        const one = Buffer.from(records[first]!.text);
        const cut = at % one.length;
        const rest = records.slice(first + 1).map(({ text }) => text);
        const pages: PlainPage[] = [
          { content: before.join(""), records: 0 },
          { content: one.subarray(0, cut), records: 0, span: "first" },
          { content: one.subarray(cut), records: 1, span: "last" },
          { content: rest.join(""), records: rest.length },
        ];
        const made = await makeCsv(pages, table.dialect, namesOf(table.rows));
        const read = [];
        for await (const row of readExport(made.folder)) read.push(row);
        assert.deepEqual(read, objectsOf(table.rows));
        assert.deepEqual((await verifyExport(made.folder, { level: "full" })).problems, []);
      }),
      { numRuns: 40 },
    );
  });

  it("lose no first character that looks like their mark, whether it shares a page with that or not", async () => {
    const dialect = { bom: true, header: false };
    const rows = [["\ufeffa"], ["\ufeffb"]];
    const [before, first, second] = (await write({ dialect, rows })).map(({ text }) => text);
    const cut: PlainPage[] = [
      { content: before!, records: 0 },
      { content: first!.slice(0, 1), records: 0, span: "first" },
      { content: first!.slice(1), records: 1, span: "last" },
      { content: second!, records: 1 },
    ];
    for (const pages of [cut, [{ content: before! + first! + second!, records: 2 }]]) {
      const made = await makeCsv(pages, dialect, ["c0"]);
      assert.deepEqual(await Array.fromAsync(readExport(made.folder)), objectsOf(rows));
    }
  });

  it("are read by the source of the same name, told the same", async () => {
    await fc.assert(
      fc.asyncProperty(anyTable, fc.integer({ min: 1, max: 9 }), async (table, pieces) => {
        const text = (await write(table)).map((record) => record.text).join("");
        const shape = { ...dialectOf(table.dialect), maxRecord: 1000 };
        const read = await collect(readCsv(inPieces(text, pieces), "in.csv", shape));
        assert.deepEqual(tuplesOf(read), table.rows);
      }),
      { numRuns: 100 },
    );
  });

  for (const [name, dialect] of Object.entries(usualDialects)) {
    it(`go through a run and back: ${name}`, async () => {
      const path = folder.next();
      const odd = (id: number) => ({ id, text: id % 5 ? `row ${id}\n;"',` : null, none: "NULL" });
      const source = countedRows({ rows: 120, row: odd });
      const parts = { source, dir: join(path, "spool"), to: join(path, "out") };
      const pipeline = makePipeline({ ...parts, format: "csv", dialect });
      const summary = await run(pipeline, { env: testEnv });
      assert.deepEqual(summary.layers.dialect, dialectOf(dialect));
      const manifest = await readFile(new URL(summary.manifest), "utf8");
      assert.ok(manifest.includes(`"dialect":${JSON.stringify(dialectOf(dialect))}}`));
      const read = [];
      for await (const row of readExport(summary.destination)) read.push(row);
      const rows = Array.from({ length: 120 }, (_, id) => ({ ...odd(id), id: `${id}` }));
      assert.deepEqual(read, rows);
      assert.ok((await restoreExport(summary.destination, { to: path })).file?.endsWith(".csv"));
    });
  }

  it("say nothing of themselves where they are COPY's own", async () => {
    const path = folder.next();
    const parts = { source: countedRows({ rows: 3 }), dir: join(path, "spool"), to: path };
    const dialect = { delimiter: ",", header: true };
    const summary = await run(makePipeline({ ...parts, format: "csv", dialect }), { env: testEnv });
    assert.equal(summary.layers.dialect, undefined);
    assert.doesNotMatch(await readFile(new URL(summary.manifest), "utf8"), /dialect/);
  });

  it("go back into a table, every value as it was", async () => {
    const { url } = await sharedPostgres();
    await runSql(
      url,
      "drop schema if exists csv_dialects cascade",
      "create schema csv_dialects",
      `create table csv_dialects.one as select g as id, case when g % 3 > 0 then E'a;"''\\n' || g end as t, '' as e,
         g / 7.0 as n, g % 2 = 0 as b, json_build_array(g, 'x"') as j, jsonb_build_object('k', 'NULL') as jb,
         E'{"a":\\n1}'::json as lines, to_jsonb('text'::text) as js, array['NULL', null, 'x,y'] as a, row(g, 'q')::text as r,
         decode(repeat('00ff', g), 'hex') as x, timestamptz '2024-01-02 03:04:05.6+00' + g * interval '1 day' as at
       from generate_series(1, 80) g`,
      "create table csv_dialects.two (like csv_dialects.one)",
    );
    for (const dialect of [{}, ...Object.values(usualDialects).slice(0, 2)]) {
      const path = folder.next();
      const source = postgres({ url, query: "select * from csv_dialects.one order by id" });
      const parts = { source, dir: join(path, "spool"), to: join(path, "out") };
      const pipeline = makePipeline({ ...parts, format: "csv", dialect });
      const { destination, pages } = await run(pipeline, { env: testEnv });
      assert.ok(pages > 3);
      await runSql(url, "truncate csv_dialects.two");
      await restoreExport(destination, { to: { url, table: "csv_dialects.two" } });
      const differ = await runSql(
        url,
        "select count(*) from (select t::text from csv_dialects.one t except all select t::text from csv_dialects.two t) d",
      );
      assert.deepEqual(differ, [["0"]]);
      assert.deepEqual(await runSql(url, "select count(*) from csv_dialects.two"), [["80"]]);
    }
    await runSql(url, "drop schema csv_dialects cascade");
  });
});

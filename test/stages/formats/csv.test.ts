import assert from "node:assert/strict";
import { Readable } from "node:stream";
import { parse } from "csv-parse/sync";
import * as fc from "fast-check";
import { createFieldPrinter } from "../../../src/stages/formats/csv.ts";
import { copyDialect, type CsvOptions } from "../../../src/stages/formats/csv-dialect.ts";
import { readCsv } from "../../../src/stages/sources/csv.ts";
import type { Row, Tuple } from "../../../src/stages/nouns.ts";
import { column, documentBatches, sourceEnd, tupleBatches } from "../../fixtures/pipelines.ts";
import { recordsOf, writeDocuments, writeTuples } from "./written.ts";

const a = column("a");
const b = column("b");

describe("csv", () => {
  it("writes a header and a record a line, as COPY does", async () => {
    assert.equal(await writeTuples("csv", [a, b], [["1", "x"]]), "a,b\n1,x\n");
  });

  it("tells NULL from the empty text", async () => {
    assert.equal(await writeTuples("csv", [a, b], [[null, ""]]), 'a,b\n,""\n');
  });

  it("quotes commas, quotes and line breaks, and nothing else", async () => {
    const texts = ["a,b", 'say "x"', "1\n2", "1\r2", " x ", "ä;\t"];
    const lines = await writeTuples(
      "csv",
      [a, b],
      [texts.slice(0, 2), texts.slice(2, 4), texts.slice(4)],
    );
    assert.equal(lines, 'a,b\n"a,b","say ""x"""\n"1\n2","1\r2"\n x ,ä;\t\n');
  });

  it("quotes a lone \\. as COPY does, and only where it stands alone", async () => {
    assert.equal(await writeTuples("csv", [a], [["\\."], ["\\.x"]]), 'a\n"\\."\n\\.x\n');
    assert.equal(await writeTuples("csv", [a, b], [["\\.", "\\."]]), "a,b\n\\.,\\.\n");
  });

  it("quotes names like texts, also an empty one and a lone \\.", async () => {
    assert.equal(await writeTuples("csv", [column('x"y'), column("p,q")], []), '"x""y","p,q"\n');
    assert.equal(await writeTuples("csv", [column("")], [["1"]]), '""\n1\n');
    assert.equal(await writeTuples("csv", [column("\\.")], []), '"\\."\n');
  });

  it("quotes what begins with U+FEFF, which a reader would take for the mark of a file", async () => {
    const rows = [
      ["\ufeff", "x\ufeff"],
      ["\ufeffx\n", null],
    ] as const;
    const columns = [column("\ufeffa"), b];
    const text = await writeTuples("csv", columns, rows);
    assert.equal(text, '"\ufeffa",b\n"\ufeff",x\ufeff\n"\ufeffx\n",\n');
    for (const header of [true, false]) {
      const { records } = await recordsOf("csv", tupleBatches(columns, rows), { header });
      const written = [Buffer.from(records.map((record) => record.text).join(""))];
      const shape = { ...copyDialect, header, maxRecord: 1e6 };
      const read = await Array.fromAsync(readCsv(Readable.from(written), "in.csv", shape));
      assert.equal(read[0]?.columns[0]?.name, header ? "\ufeffa" : "column1");
      assert.deepEqual(
        read.flatMap((batch) => batch.rows as readonly Tuple[]),
        rows,
      );
    }
  });

  it("quotes a long text in parts, between characters", async () => {
    for (const start of ["", "x", "xy"]) {
      const text = start + '"😀'.repeat(100_000);
      const written = await writeTuples("csv", [a], [[text]]);
      assert.ok(written === `a\n"${text.replaceAll('"', '""')}"\n`, "another text came out");
    }
  });

  it("doubles a quote that is a dollar sign, in names and in long texts too", async () => {
    const [name, text] = ["a$b", "x".repeat(1000) + "$"];
    const { records } = await recordsOf("csv", tupleBatches([column(name)], [[text]]), {
      quote: "$",
    });
    assert.deepEqual(
      records.map((record) => record.text),
      ["$a$$b$\n", `$${text}$$\n`],
    );
  });

  it("keeps columns that share a name", async () => {
    assert.equal(await writeTuples("csv", [a, a], [["1", "2"]]), "a,a\n1,2\n");
  });

  it("writes a line a row even where there are no columns", async () => {
    assert.equal(await writeTuples("csv", [], [[], []]), "\n\n\n");
  });

  it("writes the texts of columns as the source printed them", async () => {
    const columns = [
      column("t", "boolean", "bool"),
      column("at", "timestamptz"),
      column("j", "json"),
    ];
    assert.equal(
      await writeTuples("csv", columns, [["t", "2024-01-02 03:04:05+00", '{"a":\n1}']]),
      't,at,j\nt,2024-01-02 03:04:05+00,"{""a"":\n1}"\n',
    );
  });

  it("writes values of documents as JSON would, texts and dates without its quotes", async () => {
    const row = { n: 1.5, b: 2n ** 64n, o: { x: [1] }, d: new Date(0), t: true, u: undefined };
    assert.equal(
      await writeDocuments("csv", [row]),
      'n,b,o,d,t,u\n1.5,18446744073709551616,"{""x"":[1]}",1970-01-01T00:00:00.000Z,true,\n',
    );
  });

  it("writes what JSON has no form for as NULL, and its texts as texts", async () => {
    const none = [NaN, -Infinity, new Date(NaN), () => 1, Symbol("s"), { toJSON: () => null }];
    for (const value of none) {
      assert.equal(await writeDocuments("csv", [{ a: value, b: "NaN" }]), "a,b\n,NaN\n");
      const { records } = await recordsOf("csv", documentBatches([{ a: value, b: "null" }]), {
        null: "null",
      });
      assert.equal(records[1]?.text, 'null,"null"\n');
    }
  });

  it("writes a boolean that was PostgreSQL's as t and f", async () => {
    const hints = [column("t", "boolean", "bool")];
    assert.equal(await writeDocuments("csv", [{ t: true }, { t: false }], hints), "t\nt\nf\n");
  });

  it("takes the header of documents from the first row there is, not from an empty batch", async () => {
    const [rows, end] = documentBatches([{ kept: 1 }]);
    const empty = { ...rows!, columns: [a, b], rows: [], expects: { rows: 9, exact: false } };
    const { records } = await recordsOf("csv", [empty, rows!, end!]);
    assert.deepEqual(
      records.map(({ text }) => text),
      ["kept\n", "1\n"],
    );
  });

  it("fills a column a later row does not have, and refuses one the header does not have", async () => {
    assert.equal(await writeDocuments("csv", [{ a: 1, b: 2 }, { b: 3 }]), "a,b\n1,2\n,3\n");
    const odd = JSON.parse('{"__proto__":1,"constructor":2,"b":3}') as Row;
    const expected = "__proto__,constructor,b\n1,2,3\n,,4\n";
    assert.equal(await writeDocuments("csv", [odd, { b: 4 }]), expected);
    await assert.rejects(writeDocuments("csv", [{ a: 1 }, { a: 1, secret: 2 }]), {
      code: "transform-failed",
      message: /row 2 has a key (?!.*secret).*file.s header/,
    });
  });

  it("writes only the header when there are no rows", async () => {
    const { records, last } = await recordsOf("csv", [
      { shape: "tuples", columns: [a, b], rows: [], bytes: 0, end: sourceEnd(0) },
    ]);
    assert.deepEqual(records, [{ text: "a,b\n", framing: true }]);
    assert.deepEqual(last.end, sourceEnd(0));
  });

  it("refuses half a surrogate pair instead of changing it", async () => {
    for (const write of [
      () => writeTuples("csv", [a], [["x\ud800"]]),
      () => writeTuples("csv", [column("\udc00")], []),
      () => writeDocuments("csv", [{ a: "\ud800" }]),
    ]) {
      await assert.rejects(write, { code: "transform-failed", message: /surrogate/ });
    }
  });

  describe("of another dialect", () => {
    const write = async (dialect: CsvOptions, rows: readonly Tuple[], columns = [a, b]) => {
      const { records } = await recordsOf("csv", tupleBatches(columns, rows), dialect);
      return records.map(({ text }) => text).join("");
    };

    it("is what Excel in Europe opens", async () => {
      const dialect = { delimiter: ";", lineEnd: "crlf", bom: true } as const;
      const rows = [
        ["1,5", "x;y"],
        [null, "two\nlines"],
      ];
      assert.equal(await write(dialect, rows), '\ufeffa;b\r\n1,5;"x;y"\r\n;"two\nlines"\r\n');
    });

    it("has tabs and \\N for a loader of a database, and no header", async () => {
      const dialect = { delimiter: "\t", null: "\\N", header: false };
      const rows = [
        ["\\N", null],
        ["", "a,b"],
        ["x\ty", "\\Nx"],
      ];
      assert.equal(await write(dialect, rows), '"\\N"\t\\N\n\ta,b\n"x\ty"\t\\Nx\n');
    });

    it("quotes every value but NULL, and names only where they need it", async () => {
      const dialect = { quote: "'", quoteAll: true };
      const rows = [
        ["it's", null],
        ["", '"'],
      ];
      assert.equal(await write(dialect, rows), "a,b\n'it''s',\n'','\"'\n");
      assert.equal(await write({ ...dialect, null: "a" }, [["a", null]]), "'a',b\n'a',a\n");
    });

    it("writes documents' values the same", async () => {
      const batches = documentBatches([{ n: 1.5, t: true, d: new Date(0), u: undefined }]);
      const { records } = await recordsOf("csv", batches, { delimiter: ":", null: "true" });
      assert.equal(
        records.map(({ text }) => text).join(""),
        'n:t:d:u\n1.5:"true":"1970-01-01T00:00:00.000Z":true\n',
      );
    });

    it("has no framing at all without header and mark", async () => {
      const { records } = await recordsOf("csv", tupleBatches([a], [["1"]]), { header: false });
      assert.deepEqual(records, [{ text: "1\n", framing: false }]);
    });
  });

  it("writes any cells as its printer of fields says", async () => {
    const cells = fc.oneof(
      fc.string({ unit: "binary", maxLength: 600 }).map((text) => text.toWellFormed()),
      fc.stringMatching(/^[a,"\r\n\\.]{0,4}$/),
      fc.constantFrom(null, undefined, true, 0.5, -0, 2n ** 70n, { x: ["é,"] }, new Date(0)),
    );
    const table = fc.integer({ min: 1, max: 3 }).chain((width) => {
      const row = fc.array(cells, { minLength: width, maxLength: width });
      return fc.array(row, { minLength: 1, maxLength: 4 });
    });
    const printField = createFieldPrinter(copyDialect);
    await fc.assert(
      fc.asyncProperty(table, async (rows) => {
        const columns = rows[0]!.map((_, i) => column(`c${i}`));
        const lines = rows.map((row) =>
          row.map((cell) => [...printField(cell, row.length === 1)].join("")).join(","),
        );
        const header = columns.map(({ name }) => name).join(",");
        const expected = [header, ...lines, ""].join("\n");
        assert.equal(await writeTuples("csv", columns, rows), expected);
        const documents = rows.map((row) =>
          Object.fromEntries(row.map((cell, i) => [`c${i}`, cell])),
        );
        assert.equal(await writeDocuments("csv", documents), expected);
      }),
    );
  });

  it("reads back as it was written, through csv-parse, for any texts and batches", async () => {
    const cell = fc.option(fc.string({ unit: "binary", maxLength: 6 }));
    const table = fc.integer({ min: 2, max: 4 }).chain((width) =>
      fc.array(fc.array(cell, { minLength: width, maxLength: width }), {
        minLength: 1,
        maxLength: 6,
      }),
    );
    const cast = (text: string, { quoting }: { quoting: boolean }) =>
      text === "" && !quoting ? null : text;
    await fc.assert(
      fc.asyncProperty(table, fc.integer({ min: 1, max: 4 }), async (rows, pieces) => {
        const columns = rows[0]!.map((_, i) => column(`c${i}`));
        const text = await writeTuples("csv", columns, rows, pieces);
        const read = parse(text, { cast, record_delimiter: "\n" }) as unknown[][];
        assert.deepEqual(read.slice(1), rows);
      }),
    );
  });
});

import assert from "node:assert/strict";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import * as v from "valibot";
import { copyDialect } from "../../../src/stages/formats/csv-dialect.ts";
import { csv, readCsv } from "../../../src/stages/sources/csv.ts";
import { checkStageContract, collect } from "../../contract/stage-contract.ts";
import { inPieces, refuses, tuplesOf } from "../../fixtures/sources.ts";

const read = (content: string | Uint8Array, pieces = 1, shape = {}) =>
  collect(
    readCsv(inPieces(content, pieces), "in.csv", {
      ...copyDialect,
      maxRecord: 1000,
      ...shape,
    }),
  );
const parse = async (...args: Parameters<typeof read>) => tuplesOf(await read(...args));

describe("csv", () => {
  let folder: string;
  const file = (name: string) => join(folder, name);

  before(async () => {
    folder = await mkdtemp(join(tmpdir(), "spillway-csv-"));
    const lines = Array.from({ length: 20_000 }, (_, id) => `${id},"a ""b"" é",`);
    await writeFile(file("many.csv"), `id,text,none\n${lines.join("\n")}\n`);
    await writeFile(file("header.csv"), "id,text\n");
  });
  after(() => rm(folder, { recursive: true }));

  checkStageContract({
    stage: csv,
    config: () => ({ path: file("many.csv") }),
    required: ["path"],
    wrong: { path: 7, delimiter: ",,", header: "yes", maxRecord: "big" },
    empty: {
      config: () => ({ path: file("header.csv") }),
      check: (items, error) => {
        assert.equal(error, undefined);
        assert.deepEqual(
          items.flatMap(({ rows }) => rows as unknown[]),
          [],
        );
        const last = items.at(-1);
        assert.equal(last?.end?.rows, 0);
        assert.deepEqual(
          last?.columns.map(({ name }) => name),
          ["id", "text"],
        );
      },
    },
  });

  it("names columns by the header and keeps names that repeat or are empty", async () => {
    const batches = await read('a,a,,"b\nc"\n1,2,3,4\n');
    assert.deepEqual(batches[0]?.columns, [
      { name: "a", type: "text", json: "string" },
      { name: "a", type: "text", json: "string" },
      { name: "", type: "text", json: "string" },
      { name: "b\nc", type: "text", json: "string" },
    ]);
    assert.deepEqual(tuplesOf(batches), [["1", "2", "3", "4"]]);
  });

  it("numbers the columns when there is no header", async () => {
    const [batch] = await read("1;2\n", 1, { header: false, delimiter: ";" });
    assert.deepEqual(
      batch?.columns.map(({ name }) => name),
      ["column1", "column2"],
    );
    assert.deepEqual(batch?.rows, [["1", "2"]]);
    assert.deepEqual(await read("", 1, { header: false }), []);
  });

  it("reads the same however the bytes are split, a byte at a time included", async () => {
    const content = Buffer.from(
      '\ufeffa,b,c\r\n1,"x, ""y"" 😀\r\nz",\n"",é\u0000, \r,2,"\n"\r\n"last","",""',
    );
    const whole = await parse(content);
    assert.deepEqual(whole, [
      ["1", 'x, "y" 😀\r\nz', null],
      ["", "é\u0000", " "],
      [null, "2", "\n"],
      ["last", "", ""],
    ]);
    for (const pieces of [2, 3, 7, content.length]) {
      assert.deepEqual(await parse(content, pieces), whole);
    }
  });

  it("reads the dialect that it is told, and its NULL only without quotes", async () => {
    const tabs = { delimiter: "\t", quote: "'", null: "\\N" };
    const content = "a\tb\r\n\\N\t'\\N'\r\n'it''s'\t\"\r\n\t''\r\n";
    for (const pieces of [1, 4, content.length]) {
      assert.deepEqual(await parse(content, pieces, tabs), [
        [null, "\\N"],
        ["it's", '"'],
        ["", ""],
      ]);
    }
    await refuses(parse("a\n'x'\0\n", 1, tabs), /a NUL behind a quote/);
    assert.deepEqual(await parse('a\n"x"\0\n', 1, tabs), [['"x"\0']]);
  });

  it("takes a name for a name, though it would be NULL as a value", async () => {
    const batches = await read('id,NA,"NA"\n1,NA,"NA"\n', 1, { null: "NA" });
    assert.deepEqual(
      batches[0]?.columns.map(({ name }) => name),
      ["id", "NA", "NA"],
    );
    assert.deepEqual(tuplesOf(batches), [["1", null, "NA"]]);
  });

  it("refuses a dialect whose marks cannot be told apart", () => {
    for (const [shape, path] of [
      [{ quote: "," }, "quote"],
      [{ delimiter: '"' }, "delimiter"],
      [{ null: "a,b" }, "null"],
      [{ null: '"' }, "null"],
      [{ quote: "''" }, "quote"],
      [{ quote: "😀" }, "quote"],
      [{ delimiter: "\ud83d" }, "delimiter"],
    ] as const) {
      const { issues = [] } = v.safeParse(csv.config, { path: "in.csv", ...shape });
      assert.deepEqual(
        issues.map((issue) => v.getDotPath(issue)),
        [path],
      );
    }
  });

  it("reads an empty field as null and an empty quoted field as a text", async () => {
    assert.deepEqual(await parse('a\n\n""\nx\n'), [[null], [""], ["x"]]);
  });

  it("refuses ragged records with their line and without their content", async () => {
    await refuses(parse("a,b\n1,2\nsecret\n"), /^in\.csv:3: the record has more or fewer fields/);
    await refuses(parse('a,b\n"x\ny",2\n1,2,secret\n'), /^in\.csv:4: /);
    await refuses(parse("a,b\n1,2\n\n"), /^in\.csv:3: /);
  });

  it("refuses misplaced and open quotes", async () => {
    await refuses(parse('a\n"secret" x\n'), /^in\.csv:2: .*text after a closing quote/);
    await refuses(parse('a\nsecret"x"\n'), /^in\.csv:2: .*a quote inside a field/);
    await refuses(parse('a\n1\n"secret\n'), /quoted field that does not end/);
  });

  it("refuses a NUL behind a quote, where it cannot be told what it belongs to, and no other", async () => {
    for (const pieces of [1, 3, 8]) {
      await refuses(parse('a,b\n"secret"\0x,2\n', pieces), /a NUL behind a quote/);
      const [row] = await parse('a,b\n\0x\0,"y\0z"\n', pieces);
      assert.deepEqual(row, ["\0x\0", "y\0z"]);
    }
  });

  it("refuses bytes that are not UTF-8, and half a character at the end", async () => {
    for (const pieces of [1, 5]) {
      await refuses(parse(Buffer.from("a\nx\xffy\nz\n", "latin1"), pieces), /not valid UTF-8/);
      await refuses(parse(Buffer.from("a\né").subarray(0, 3), pieces), /middle of a UTF-8/);
      await refuses(parse(Buffer.from("\xff\xfea\x00", "latin1"), pieces), /UTF-8/);
    }
  });

  it("refuses a record larger than maxRecord", async () => {
    const content = `a\n${"x".repeat(200)}\n`;
    assert.equal((await parse(content, 3, { maxRecord: 200 })).length, 1);
    await refuses(parse(content, 3, { maxRecord: 199 }), /^in\.csv:2: .*larger than maxRecord/);
    await refuses(parse(`a\n"${content}`, 1, { maxRecord: 50 }), /larger than maxRecord/);
  });

  it("refuses an empty file where a header is due", () => refuses(parse(""), /expected a header/));

  it("reads 100,000 columns", async () => {
    const line = Array.from({ length: 100_000 }, (_, index) => index).join(",");
    const [row] = await parse(`${line}\n${line}\n`, 9, { maxRecord: 2 ** 20 });
    assert.equal(row?.length, 100_000);
    assert.equal(row?.[99_999], "99999");
  });
});

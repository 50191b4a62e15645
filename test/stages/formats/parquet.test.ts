import assert from "node:assert/strict";
import { hash } from "node:crypto";
import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { zstdDecompressSync } from "node:zlib";
import { parquetMetadata, parquetReadObjects, parquetSchema } from "hyparquet";
import { footerMost } from "../../../src/stages/formats/format.ts";
import { createFooter } from "../../../src/stages/formats/parquet-footer.ts";
import type { Column, Tuple } from "../../../src/stages/nouns.ts";
import { openDesk } from "../../cli/spawn-cli.ts";
import { column, documentBatches, tupleBatches } from "../../fixtures/pipelines.ts";
import { needTools, runTool } from "../../fixtures/stock-tools.ts";
import { writeParquet } from "./written.ts";

const ZSTD = (bytes: Uint8Array) => zstdDecompressSync(bytes);

/** As a reader of its own has them: numbers beyond 2^53 and unscaled decimals are not rounded here. */
const read = (file: ArrayBuffer) =>
  parquetReadObjects({ file, compressors: { ZSTD }, utf8: false, parsers: exact });

const exact = {
  timestampFromMilliseconds: (millis: bigint) => millis * 1000n,
  timestampFromMicroseconds: (micros: bigint) => micros,
  timestampFromNanoseconds: (nanos: bigint) => nanos,
  dateFromDays: (days: number) => days,
  stringFromBytes: (bytes: Uint8Array) => Buffer.from(bytes).toString(),
  jsonFromBytes: (bytes: Uint8Array) => Buffer.from(bytes).toString(),
};

const valuesOf = async (columns: readonly Column[], rows: readonly Tuple[]) =>
  (await read((await writeParquet(tupleBatches(columns, rows))).file)).map((row) =>
    Object.values(row),
  );

describe("serialize to parquet", () => {
  it("loses nothing of a value that its type can hold", async () => {
    const columns = [
      column("a", "number", "int4"),
      column("b", "number", "int8"),
      column("c", "number", "bigint unsigned"),
      column("d", "number", "float4"),
      column("e", "number", "float8"),
      column("f", "boolean", "bool"),
      column("g", "string", "date"),
      column("h", "timestamp", "timestamp"),
      column("i", "timestamptz", "timestamptz"),
      column("j", "json", "jsonb"),
      column("k", "string", "bytea"),
      column("l", "string", "text"),
      column("m", "number", "numeric"),
    ];
    const micros = BigInt(Date.UTC(2024, 0, 2, 3, 4, 5)) * 1000n;
    const rows = [
      [
        ["-2147483648", -2147483648],
        ["-9223372036854775808", -(2n ** 63n)],
        ["18446744073709551615", 2n ** 64n - 1n],
        ["0.1", Math.fround(0.1)],
        ["-Infinity", -Infinity],
        ["t", true],
        ["1969-12-31", -1],
        ["2024-01-02 03:04:05.123456", micros + 123_456n],
        ["2024-01-02 03:04:05.1+05:30", micros + 100_000n - 19_800_000_000n],
        ['{"a": 1.10}', '{"a": 1.10}'],
        ["\\x00ff", Uint8Array.of(0, 255)],
        ["é😀", "é😀"],
        ["1.50", "1.50"],
      ],
      columns.map(() => [null, null]),
    ];
    const cells = rows.map((row) => row.map(([cell]) => cell));
    const values = rows.map((row) => row.map(([, value]) => value));
    assert.deepEqual(await valuesOf(columns, cells), values);
  });

  it("keeps the sign of a nought where others have none, however often both come", async () => {
    const columns = [column("a", "number", "float4"), column("b", "number", "float8")];
    const cells = ["0", "-0", null, "1.5", "-0", "0"];
    const rows = Array.from({ length: 60 }, (_, at) => [
      cells[at % 6] ?? null,
      cells[(at + 1) % 6] ?? null,
    ]);
    assert.deepEqual(
      await valuesOf(columns, rows),
      rows.map((row) => row.map((cell) => (cell === null ? null : Number(cell)))),
    );
  });

  it("keeps every digit of a decimal", async () => {
    const columns = [
      column("a", "number", "decimal(18,4)"),
      column("b", "number", "decimal(38,10)"),
      column("c", "number", "decimal(65,2)"),
    ];
    const cell = "-1234567890123456789012345678.0123456789";
    const { file } = await writeParquet(
      tupleBatches(columns, [["-1.5", cell, "1.00"]], 1),
      "64KiB",
    );
    const { schema, row_groups } = parquetMetadata(file);
    assert.deepEqual(
      schema
        .slice(1)
        .map(({ converted_type, precision, scale }) => [converted_type, precision, scale]),
      [
        ["DECIMAL", 18, 4],
        ["DECIMAL", 38, 10],
        ["UTF8", undefined, undefined],
      ],
    );
    const [first, second] = row_groups[0]!.columns.map(({ meta_data }) => meta_data!);
    const page = (meta: { data_page_offset: bigint; total_compressed_size: bigint }) =>
      Buffer.from(file, Number(meta.data_page_offset), Number(meta.total_compressed_size));
    const frame = (bytes: Buffer) =>
      Buffer.from(ZSTD(bytes.subarray(bytes.indexOf(Buffer.from([0x28, 0xb5, 0x2f, 0xfd])))));
    assert.equal(frame(page(first!)).readBigInt64LE(), -15_000n);
    const digits = frame(page(second!)).toString("hex");
    assert.equal(BigInt.asIntN(128, BigInt(`0x${digits}`)), BigInt(cell.replace(".", "")));
  });

  it("refuses what a column cannot hold, with its row and column, and never its value", async () => {
    const wrong: [Column, string][] = [
      [column("x", "string", "date"), "0000-00-00"],
      [column("x", "string", "date"), "2023-02-29"],
      [column("x", "timestamp", "timestamp"), "-infinity"],
      [column("x", "timestamp", "timestamp"), "0044-03-15 00:00:00 BC"],
      [column("x", "timestamptz", "timestamptz"), "2024-01-02 03:04:05"],
      [column("x", "number", "int4"), "2147483648"],
      [column("x", "number", "decimal(4,2)"), "100.00"],
      [column("x", "number", "decimal(4,2)"), "1.001"],
    ];
    for (const [of, cell] of wrong) {
      await assert.rejects(writeParquet(tupleBatches([of], [[null], [cell]])), (error: Error) => {
        assert.match(error.message, /row 2 .*column "x"/);
        assert.ok(!error.message.includes(cell));
        return true;
      });
    }
    const twice = tupleBatches([column("a"), column("a")], [["1", "2"]]);
    await assert.rejects(writeParquet(twice), /a name of its own/);
    const halves = tupleBatches([column("\ud800"), column("\ud801")], [["1", "2"]]);
    await assert.rejects(writeParquet(halves), /half a surrogate pair/);
    const half = tupleBatches([column("a")], [["\ud800"]]);
    await assert.rejects(writeParquet(half), /surrogate/);
  });

  it("takes documents by name, and values without a type as texts", async () => {
    const rows = [
      { id: 7, when: "2024-01-02", more: { a: [1, 'x"'] } },
      { more: null, id: "8" },
    ];
    const { file } = await writeParquet(documentBatches(rows, 2, [column("id", "number", "int4")]));
    assert.deepEqual(await read(file), [
      { id: 7, when: "2024-01-02", more: '{"a":[1,"x\\""]}' },
      { id: 8, when: null, more: null },
    ]);
    await assert.rejects(writeParquet(documentBatches([{ a: 1 }, { b: 2 }])), /row 2 has a key/);
  });

  it("has NULL in every type for what JSON has no form for", async () => {
    const columns = [
      column("a", "number", "int4"),
      column("b", "number", "int8"),
      column("c", "number", "float4"),
      column("d", "number", "float8"),
      column("e", "boolean", "bool"),
      column("f", "string", "date"),
      column("g", "timestamptz", "timestamptz"),
      column("h", "json", "jsonb"),
      column("i", "string", "bytea"),
      column("j"),
      column("k", "number", "decimal(4,2)"),
    ];
    const values = [NaN, Infinity, -Infinity, new Date(NaN), () => 1, Symbol("s"), undefined];
    const rows = values.map((value) =>
      Object.fromEntries(columns.map(({ name }) => [name, value])),
    );
    const none = Object.fromEntries(columns.map(({ name }) => [name, null]));
    assert.deepEqual(
      await read((await writeParquet(documentBatches(rows, 1, columns))).file),
      values.map(() => none),
    );
  });

  it("ends row groups by the rows alone, each of about `rowGroup` bytes", async () => {
    const columns = [column("id", "number", "int8"), column("text")];
    const rows = Array.from({ length: 20_000 }, (_, id) => [`${id}`, `row ${id}`]);
    const { file, records } = await writeParquet(tupleBatches(columns, rows, 1), "64KiB");
    const { row_groups, num_rows } = parquetMetadata(file);
    assert.equal(records, 20_000);
    assert.equal(num_rows, 20_000n);
    assert.ok(row_groups.length > 5);
    assert.deepEqual((await writeParquet(tupleBatches(columns, rows, 777), "64KiB")).file, file);
    assert.deepEqual(
      (await read(file)).map(({ id, text }) => [String(id), text]),
      rows,
    );
  });

  it("is a file without rows, too", async () => {
    const { file } = await writeParquet(tupleBatches([column("a", "number", "int4")], []));
    const metadata = parquetMetadata(file);
    assert.equal(metadata.num_rows, 0n);
    assert.deepEqual(
      parquetSchema(metadata).children.map(({ element }) => [element.name, element.type]),
      [["a", "INT32"]],
    );
  });

  it("stops before its footer outgrows its memory, and says what helps", () => {
    const footer = createFooter([{ name: "schema", num_children: 0 }]);
    const columns = Array.from({ length: 50 }, () => ({
      file_path: "x".repeat(10_000),
      file_offset: 0n,
    }));
    let groups = 0;
    assert.throws(() => {
      for (; groups < 1000; groups += 1) footer.add({ columns, total_byte_size: 1n, num_rows: 1n });
    }, /after \d+ row groups .* raise `rowGroup`/);
    assert.equal(groups, 16);
    const bytes = [...footer.pieces(1n)].reduce((sum, piece) => sum + piece.length, 0);
    assert.ok(bytes <= footerMost + 100);
  });

  it("is one file over all pages, put together by stock tools", async function () {
    this.timeout(30_000);
    needTools(this, "zstd");
    const desk = await openDesk();
    try {
      // Row groups do not compress to less than a page.
      const textOf = (id: number) => hash("sha256", `${id}`, "hex").repeat(id % 3);
      const lines = Array.from({ length: 3000 }, (_, id) => `${id},${textOf(id)},\n`);
      await desk.write("rows.csv", `id,text,none\n${lines.join("")}`);
      await desk.write(
        "export.yaml",
        [
          "name: rows",
          "memory: 112MiB",
          "stages:",
          "  - csv: rows.csv",
          "  - serialize: { format: parquet, rowGroup: 32KiB }",
          "  - chunk: 4KiB",
          "  - compress: zstd",
          "  - encrypt: none",
          "  - spool",
          "  - upload: ./exports",
        ].join("\n"),
      );
      const { code, stdout, stderr } = await desk.cli(["run", "export.yaml", "--json"]);
      assert.equal(code, 0, stderr);
      const { runId, pages } = JSON.parse(stdout) as { runId: string; pages: number };
      assert.ok(pages > 2, `${pages} pages`);
      const folder = join(desk.folder, "exports/rows", runId);
      const whole = runTool("sh", ["-c", `cat "${folder}"/*.parquet.zst | zstd -dcq`]);
      const rows = await read(Uint8Array.from(whole).buffer);
      assert.equal(
        rows.map(({ id, text }) => `${String(id)},${String(text ?? "")},\n`).join(""),
        lines.join(""),
      );
      assert.equal((await desk.cli(["verify", "exports/rows", "--level", "full"])).code, 0);
      assert.equal((await desk.cli(["restore", "exports/rows", "--to", "out"])).code, 0);
      assert.deepEqual(await readFile(join(desk.folder, "out/rows.parquet")), whole);
    } finally {
      await desk.remove();
    }
  });
});

import assert from "node:assert/strict";
import * as v from "valibot";
import type { PipelineError } from "../../../src/errors.ts";
import { serialize } from "../../../src/stages/formats/serialize.ts";
import { checkStageContract, testContext } from "../../contract/stage-contract.ts";
import {
  column,
  documentBatches,
  sourceEnd,
  stream,
  tupleBatches,
} from "../../fixtures/pipelines.ts";
import { recordsOf } from "./written.ts";

const columns = [column("id", "number", "int8"), column("text")];
const rows = Array.from({ length: 70 }, (_, i) => [`${i}`, `row ${i}`]);

describe("serialize", () => {
  for (const format of ["ndjson", "csv", "json", "parquet"]) {
    describe(`to ${format}`, () => {
      checkStageContract({
        stage: serialize,
        config: () => ({ format }),
        required: ["format"],
        wrong: { format: "xlsx", rowGroup: "big" },
        makeInput: (pieces) => tupleBatches(columns, rows, pieces),
        empty: {
          input: () => tupleBatches(columns, []),
          check: (items) => {
            assert.ok(items.every(({ framing }) => framing));
            assert.deepEqual(items.at(-1)?.end, sourceEnd(0));
          },
        },
      });
    });
  }

  it("refuses what no reader could tell apart, and what is another format's", () => {
    const refusals: [Record<string, unknown>, string, RegExp][] = [
      [{ delimiter: ";;" }, "delimiter", /one character/],
      [{ delimiter: "\n" }, "delimiter", /no line end/],
      [{ delimiter: "" }, "delimiter", /one character/],
      [{ delimiter: "é" }, "delimiter", /ASCII/],
      [{ delimiter: "7" }, "delimiter", /neither letter, digit/],
      [{ quote: "\r" }, "quote", /no line end/],
      [{ quote: "," }, "quote", /two different characters/],
      [{ delimiter: "'", quote: "'" }, "delimiter", /two different characters/],
      [{ null: "a,b" }, "null", /without the `delimiter`/],
      [{ delimiter: "\t", null: "\t" }, "null", /without the `delimiter`/],
      [{ null: 'no "value"' }, "null", /without the `quote`/],
      [{ null: "a\nb" }, "null", /without line ends/],
      [{ null: "\ud800" }, "null", /without line ends/],
      [{ null: "\\." }, "null", /ends the data of COPY/],
      [{ null: "x".repeat(33) }, "null", /at most 32 bytes/],
      [{ null: null }, "null", /in quotes/],
      [{ lineEnd: "cr" }, "lineEnd", /lf or crlf/],
      [{ format: "ndjson", delimiter: ";" }, "delimiter", /`format: csv` alone/],
      [{ format: "json", header: true }, "header", /`format: csv` alone/],
      [{ format: "parquet", bom: false }, "bom", /`format: csv` alone/],
      [{ rowGroup: "1MiB" }, "rowGroup", /`format: parquet` alone/],
    ];
    for (const [input, path, message] of refusals) {
      const { issues = [] } = v.safeParse(
        serialize.config,
        { format: "csv", ...input },
        { abortPipeEarly: true },
      );
      assert.deepEqual(
        issues.map((issue) => v.getDotPath(issue)),
        [path],
        JSON.stringify(input),
      );
      assert.match(issues[0]!.message, message);
    }
  });

  it("counts a record a row and none for framing", async () => {
    for (const format of ["ndjson", "csv", "json", "parquet"] as const) {
      const { records } = await recordsOf(format, tupleBatches(columns, rows, 3));
      assert.equal(records.filter(({ framing }) => !framing).length, rows.length);
    }
  });

  it("gives records as soon as they make a usual batch, for escaped a row may be six times as large", async () => {
    const wide = Array.from({ length: 10 }, () => ["1", "\u0001".repeat(100_000)]);
    const marks = wide.map((_, row) => ({ row, key: [], reading: { columns: "", epochs: [] } }));
    const batch = { shape: "tuples" as const, columns, rows: wide, bytes: 1, marks };
    const config = v.parse(serialize.config, { format: "ndjson" });
    const input = stream([{ ...batch, end: sourceEnd(10) }]);
    const given: { rows: number[]; bytes: number }[] = [];
    for await (const { bytes, marks: own = [] } of serialize.open(config, testContext(), input))
      given.push({ rows: own.map(({ row }) => row), bytes: bytes.length });
    assert.deepEqual(
      given.flatMap((one) => one.rows),
      marks.map(({ row }) => row),
    );
    const largest = Math.max(...given.map(({ bytes }) => bytes));
    assert.ok(largest < 2 ** 20 + 700_000, `${largest}`);
  });

  it("takes the end together with the last rows", async () => {
    const batch = { shape: "tuples" as const, columns, rows: rows.slice(0, 2), bytes: 1 };
    const { records, last } = await recordsOf("ndjson", [{ ...batch, end: sourceEnd(2) }]);
    assert.equal(records.length, 2);
    assert.deepEqual(last.end, sourceEnd(2));
  });

  it("tells the columns that documents are written with, not those their source had", async () => {
    const dropped = { id: "1", extra: true, text: undefined };
    for (const format of ["ndjson", "json"] as const) {
      const { last } = await recordsOf(format, documentBatches([dropped], 1, columns));
      assert.deepEqual(last.columns, [columns[0], column("extra", "value", "any")]);
    }
    const { last } = await recordsOf("csv", documentBatches([dropped], 1, columns));
    assert.deepEqual(
      last.columns.map(({ name }) => name),
      ["id", "extra", "text"],
    );
    assert.deepEqual((await recordsOf("ndjson", documentBatches([], 1, columns))).last.columns, []);
    assert.deepEqual((await recordsOf("csv", tupleBatches(columns, []))).last.columns, columns);
  });

  it("asserts that its input ends with a proof", async () => {
    const batch = { shape: "tuples" as const, columns, rows, bytes: 1 };
    await assert.rejects(recordsOf("ndjson", [batch]), { code: "internal", message: /proof/ });
  });

  it("calls what a value throws while it is written the row's fault, and quotes none of it", async () => {
    const toJSON = () => {
      throw new Error("row of a patient");
    };
    for (const format of ["ndjson", "json", "csv"] as const) {
      const batches = documentBatches([{ id: { toJSON } }]);
      await assert.rejects(recordsOf(format, batches), ({ code, message }: PipelineError) => {
        assert.equal(code, "transform-failed");
        assert.doesNotMatch(message, /patient/);
        return true;
      });
    }
  });

  it("refuses a record that no text can hold, without a stack from inside", async () => {
    const half = "\n".repeat(2 ** 28);
    const batch = { shape: "tuples" as const, columns, rows: [["1", [half]]], bytes: 1 };
    await assert.rejects(recordsOf("ndjson", [{ ...batch, end: sourceEnd(1) }]), {
      code: "transform-failed",
      message: /512 MiB/,
    });
  }).timeout(60_000);
});

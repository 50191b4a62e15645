import assert from "node:assert/strict";
import { serialize } from "../../../src/stages/formats/serialize.ts";
import { checkStageContract } from "../../contract/stage-contract.ts";
import { column, sourceEnd, tupleBatches } from "../../fixtures/pipelines.ts";
import { recordsOf } from "./written.ts";

const columns = [column("id", "number", "int8"), column("text")];
const rows = Array.from({ length: 70 }, (_, i) => [`${i}`, `row ${i}`]);

describe("serialize", () => {
  for (const format of ["ndjson", "csv", "json"]) {
    describe(`to ${format}`, () => {
      checkStageContract({
        stage: serialize,
        config: () => ({ format }),
        required: ["format"],
        wrong: { format: "parquet" },
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

  it("counts a record a row and none for framing", async () => {
    for (const format of ["ndjson", "csv", "json"] as const) {
      const { records } = await recordsOf(format, tupleBatches(columns, rows, 3));
      assert.equal(records.filter(({ framing }) => !framing).length, rows.length);
    }
  });

  it("takes the end together with the last rows", async () => {
    const batch = { shape: "tuples" as const, columns, rows: rows.slice(0, 2), bytes: 1 };
    const { records, last } = await recordsOf("ndjson", [{ ...batch, end: sourceEnd(2) }]);
    assert.equal(records.length, 2);
    assert.deepEqual(last.end, sourceEnd(2));
  });

  it("asserts that its input ends with a proof", async () => {
    const batch = { shape: "tuples" as const, columns, rows, bytes: 1 };
    await assert.rejects(recordsOf("ndjson", [batch]), { code: "internal", message: /proof/ });
  });

  it("refuses a record that no text can hold, without a stack from inside", async () => {
    const half = "\n".repeat(2 ** 28);
    const batch = { shape: "tuples" as const, columns, rows: [["1", half]], bytes: 1 };
    await assert.rejects(recordsOf("ndjson", [{ ...batch, end: sourceEnd(1) }]), {
      code: "transform-failed",
      message: /512 MiB/,
    });
  }).timeout(60_000);
});

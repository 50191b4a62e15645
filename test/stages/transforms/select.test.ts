import assert from "node:assert/strict";
import type { RowBatch } from "../../../src/stages/nouns.ts";
import { select } from "../../../src/stages/transforms/select.ts";
import { checkStageContract, collect, testContext } from "../../contract/stage-contract.ts";
import {
  column,
  documentBatches,
  sourceEnd,
  stream,
  tupleBatches,
} from "../../fixtures/pipelines.ts";

const open = (columns: string[], batches: readonly RowBatch[]) =>
  collect(select.open({ columns }, testContext(), stream(batches)));

const rows = Array.from({ length: 40 }, (_, id) => ({ id, name: `row ${id}`, more: null }));

describe("select", () => {
  checkStageContract({
    stage: select,
    config: () => ({ columns: ["name", "id"] }),
    required: ["columns"],
    wrong: { columns: [] },
    makeInput: (pieces) => documentBatches(rows, pieces),
    contentOf: (items) => items.flatMap((item) => item.rows.map((row) => JSON.stringify(row))),
    empty: {
      input: () => documentBatches([]),
      check: (items) => assert.deepEqual(items.at(-1)?.end, sourceEnd(0)),
    },
  });

  it("keeps the named columns in the order they are named", async () => {
    const [batch] = await open(["name", "id"], documentBatches(rows));
    assert.deepEqual(Object.entries(batch!.rows[0]!), [
      ["name", "row 0"],
      ["id", 0],
    ]);
  });

  it("takes tuples by the names of their columns", async () => {
    const columns = [column("id", "number", "int4"), column("big", "number", "int8")];
    const [batch] = await open(["big"], tupleBatches(columns, [["1", "9223372036854775807"]]));
    assert.deepEqual(Object.entries(batch!.rows[0]!), [["big", "9223372036854775807"]]);
    assert.deepEqual(batch!.columns, [columns[1]], "of what is left, so that numbers stay numbers");
  });

  it("tells of columns as rows have them: each once, names like numbers first", async () => {
    const columns = [column("b"), column("1")];
    const [batch] = await open(["b", "1", "b"], tupleBatches(columns, [["x", "y"]]));
    assert.deepEqual(Object.keys(batch!.rows[0]!), ["1", "b"]);
    assert.deepEqual(
      batch!.columns.map(({ name }) => name),
      ["1", "b"],
    );
  });

  it("refuses a column that is not there, and names no key of the row", async () => {
    await assert.rejects(open(["nmae"], documentBatches(rows)), {
      code: "transform-failed",
      message: /no column "nmae" in a row; (?!.*"(?:id|name|more)")/,
    });
  });

  it("does not take what every object inherits for a column", async () => {
    await assert.rejects(open(["constructor"], documentBatches(rows)), {
      code: "transform-failed",
    });
  });
});

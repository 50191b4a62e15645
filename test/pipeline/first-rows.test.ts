import assert from "node:assert/strict";
import { firstRows } from "../../src/pipeline/first-rows.ts";
import type { RecordBatch, RowBatch } from "../../src/stages/nouns.ts";
import { collect } from "../contract/stage-contract.ts";
import { documentBatches, recordBatches, sourceEnd } from "../fixtures/pipelines.ts";

const rows = Array.from({ length: 25 }, (_, id) => ({ id }));
const records = rows.map((row) => Buffer.from(`${JSON.stringify(row)}\n`));

async function taken(most: number, items: Iterable<unknown>) {
  let closed = false;
  const source = (async function* () {
    try {
      yield* items;
    } finally {
      closed = true;
    }
  })();
  const batches = await collect(firstRows(source, most));
  assert(closed, "the source is closed");
  return batches;
}

describe("firstRows", () => {
  it("gives so many rows, with an end that is told from the source's own", async () => {
    for (const most of [1, 4, 5, 6, 24, 25]) {
      const batches = (await taken(most, documentBatches(rows, 5))) as RowBatch[];
      assert.deepEqual(
        batches.flatMap((batch): readonly unknown[] => batch.rows),
        rows.slice(0, most),
      );
      const end = batches.at(-1)?.end;
      assert.equal(end?.rows, most);
      assert.equal(end.consistency.proof["sample"], true);
      assert.equal(batches.filter((batch) => batch.end).length, 1);
    }
  });

  it("cuts records where they end", async () => {
    for (const most of [1, 7, 10, 25]) {
      const batches = (await taken(most, recordBatches(records, 4))) as RecordBatch[];
      const text = Buffer.concat(batches.map(({ bytes }) => bytes)).toString();
      assert.equal(text, records.slice(0, most).join(""));
      assert.equal(batches.at(-1)?.end?.rows, most);
    }
  });

  it("gives all rows and the source's own proof where there are fewer", async () => {
    const batches = (await taken(100, documentBatches(rows, 5))) as RowBatch[];
    assert.equal(batches.flatMap((batch): readonly unknown[] => batch.rows).length, 25);
    assert.deepEqual(batches.at(-1)?.end, sourceEnd(25));
    assert.deepEqual(await taken(10, documentBatches([])), documentBatches([]));
  });
});

import assert from "node:assert/strict";
import * as fc from "fast-check";
import { column, documentBatches } from "../../fixtures/pipelines.ts";
import { recordsOf, writeDocuments, writeTuples } from "./written.ts";

describe("json", () => {
  for (const rows of [0, 1, 2, 5]) {
    it(`writes ${rows} rows as one array`, async () => {
      const tuples = Array.from({ length: rows }, (_, i) => [`${i}`]);
      const text = await writeTuples("json", [column("id", "number")], tuples, 2);
      assert.deepEqual(
        JSON.parse(text),
        tuples.map(([id]) => ({ id: Number(id) })),
      );
      assert.ok(text.startsWith("[\n") && text.endsWith("\n]\n"));
    });
  }

  it("counts neither bracket as a record", async () => {
    const { records } = await recordsOf("json", documentBatches([{ a: 1 }, { a: 2 }]));
    assert.deepEqual(
      records.map(({ framing }) => framing),
      [true, false, false, true],
    );
  });

  it("is one JSON document for any rows in any batches", async () => {
    const documents = fc.array(fc.dictionary(fc.string({ maxLength: 3 }), fc.jsonValue()));
    await fc.assert(
      fc.asyncProperty(documents, fc.integer({ min: 1, max: 5 }), async (rows, pieces) => {
        const text = await writeDocuments("json", rows, [], pieces);
        assert.deepEqual(JSON.parse(text), JSON.parse(JSON.stringify(rows)));
      }),
      { numRuns: 50 },
    );
  });
});

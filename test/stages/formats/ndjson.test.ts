import assert from "node:assert/strict";
import * as fc from "fast-check";
import { column } from "../../fixtures/pipelines.ts";
import { writeDocuments, writeTuples } from "./written.ts";

const keys = fc.string({ unit: "binary", maxLength: 4 }).filter((key) => key !== "__proto__");
const documents = fc.array(fc.dictionary(keys, fc.jsonValue(), { maxKeys: 4 }), { maxLength: 8 });

describe("ndjson", () => {
  it("writes one object a line, columns in their order, doubles kept", async () => {
    const columns = [column("id", "number", "int8"), column("a"), column("a")];
    const text = await writeTuples("ndjson", columns, [
      ["1", "x", "y"],
      ["2", null, ""],
    ]);
    assert.equal(text, '{"id":1,"a":"x","a":"y"}\n{"id":2,"a":null,"a":""}\n');
  });

  it("escapes names as it escapes texts", async () => {
    assert.equal(await writeTuples("ndjson", [column('a"\n')], [["x"]]), '{"a\\"\\n":"x"}\n');
  });

  it("writes rows without columns as empty objects", async () => {
    assert.equal(await writeTuples("ndjson", [], [[], []]), "{}\n{}\n");
    assert.equal(await writeDocuments("ndjson", [{}, {}], [column("a")]), "{}\n{}\n");
  });

  it("writes nothing at all for no rows", async () => {
    assert.equal(await writeTuples("ndjson", [column("a")], []), "");
  });

  it("leaves members out that JSON has no value for, and keeps the others' order", async () => {
    const row = { b: undefined, a: 1, f: () => 1, s: Symbol("s"), n: null };
    assert.equal(await writeDocuments("ndjson", [row]), '{"a":1,"n":null}\n');
    assert.equal(await writeDocuments("ndjson", [row], [column("a")]), '{"a":1,"n":null}\n');
  });

  it("writes documents by the hints of their source's columns", async () => {
    const hints = [column("n", "number"), column("at", "timestamptz"), column("j", "json")];
    const row = { n: "9007199254740993", at: "2024-01-02 03:04:05+00", j: '{"x":1.0}', more: "9" };
    assert.equal(
      await writeDocuments("ndjson", [row], hints),
      '{"n":9007199254740993,"at":"2024-01-02T03:04:05+00:00","j":{"x":1.0},"more":"9"}\n',
    );
  });

  it("stays on one line whatever a text holds", async () => {
    const text = await writeTuples(
      "ndjson",
      [column("a"), column("j", "json")],
      [["1\r\n2\u2028", "[1,\r\n2]"]],
    );
    assert.equal(text.match(/\n/g)?.length, 1);
    assert.deepEqual(JSON.parse(text), { a: "1\r\n2\u2028", j: [1, 2] });
  });

  it("writes a large record and small ones after it, unharmed", async () => {
    const big = "é".repeat(5_000_000);
    const text = await writeTuples("ndjson", [column("a")], [[big], ["b"], ["c"]], 3);
    assert.ok(text === `{"a":"${big}"}\n{"a":"b"}\n{"a":"c"}\n`);
  });

  it("gives back what went in, through JSON.parse, for any documents and any batches", async () => {
    await fc.assert(
      fc.asyncProperty(documents, fc.nat({ max: 5 }), fc.boolean(), async (rows, pieces, hints) => {
        const columns = hints ? [column("a", "value"), column("b")] : [];
        const text = await writeDocuments("ndjson", rows, columns, pieces + 1);
        const lines = text.split("\n");
        assert.equal(lines.pop(), "");
        assert.deepEqual(
          lines.map((line) => JSON.parse(line) as unknown),
          rows.map((row) => JSON.parse(JSON.stringify(row)) as unknown),
        );
      }),
    );
  });
});

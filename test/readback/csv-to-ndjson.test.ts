import assert from "node:assert/strict";
import { createCsvToNdjson } from "../../src/readback/csv-to-ndjson.ts";

const layers = { extension: "csv", compress: "none", encrypt: "none" } as const;

describe("CSV on its way into a table", () => {
  it("keeps each text as it is, but for JSON of a column that its source called so", () => {
    const columns = ["any", "text", "jsonb"].map((type) => ({ name: type, type }));
    const convert = createCsvToNdjson({ layers, schema: { columns } });
    const texts = ["null", '"quoted"', " 5 ", "true", "[1,2]"];
    const quoted = (text: string) => `"${text.replaceAll('"', '""')}"`;
    const lines = texts.map((text) => `${quoted(text)},${quoted(text)},${quoted(text)}\n`);
    const made = convert(Buffer.from(`any,text,jsonb\n${lines.join("")}`));
    const expected = texts.map(
      (text) => `{"any":${JSON.stringify(text)},"text":${JSON.stringify(text)},"jsonb":${text}}\n`,
    );
    assert.equal(Buffer.from(made).toString(), expected.join(""));
  });
});

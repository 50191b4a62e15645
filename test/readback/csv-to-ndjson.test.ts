import assert from "node:assert/strict";
import { createCsvToNdjson } from "../../src/readback/csv-to-ndjson.ts";
import { copyDialect } from "../../src/stages/formats/csv-dialect.ts";

const layers = { extension: "csv", compress: "none", encrypt: "none" } as const;
const quoted = (text: string) => `"${text.replaceAll('"', '""')}"`;

/** What a cell becomes that holds the text, by its column's type. */
function convert(text: string, types: readonly string[], texts?: readonly string[]): string {
  const columns = types.map((type) => ({ name: type, type }));
  const names = types.map(quoted).join(",");
  const cells = types.map(() => quoted(text)).join(",");
  const made = createCsvToNdjson(
    { layers, schema: { columns } },
    texts,
  )(Buffer.from(`${names}\n${cells}\n`));
  return Buffer.from(made).toString();
}

describe("CSV on its way into a table", () => {
  it("keeps each text as it is, but for JSON of a column that its source called so", () => {
    for (const text of ["null", '"quoted"', " 5 ", "true", "[1,2]"])
      assert.equal(
        convert(text, ["text", "jsonb", "JSON", "constructor"]),
        `{"text":${JSON.stringify(text)},"jsonb":${text},"JSON":${text},"constructor":${JSON.stringify(text)}}\n`,
      );
  });

  it("keeps each text as it is where a column of texts takes it, whatever its source called it", () => {
    for (const text of ['"abc"', "null", " 5", '{\n"a":1}', "[]"])
      assert.deepEqual(JSON.parse(convert(text, ["json", "any", "map"], ["json", "any"])), {
        json: text,
        any: text,
        map: text === "[]" ? [] : text,
      });
  });

  it("takes objects and lists for such where values may be nested, and no array of PostgreSQL", () => {
    const types = ["any", "struct", "map", "union", "integer[]", "varchar[3]"];
    const asJson = (text: string) =>
      Object.entries(JSON.parse(convert(text, types)) as object)
        .filter(([, value]) => typeof value === "object")
        .map(([type]) => type);
    assert.deepEqual(asJson('{"a":1}'), ["any", "struct", "map", "union"]);
    assert.deepEqual(asJson('[1,"b"]'), types);
    for (const text of ["{1,2}", "[2:3]={1,2}", "5", '"a"', "true", "[1,", "{"])
      assert.deepEqual(asJson(text), [], text);
    assert.deepEqual(asJson("{}").includes("integer[]"), false);
  });

  it("keeps line breaks between tokens of JSON out of its lines", () => {
    assert.equal(convert('{\r\n"a":\n1}', ["json"]), '{"json":{  "a": 1}}\n');
  });

  it("leaves a text as it is that looks like JSON and breaks its lines, where nobody calls it JSON", () => {
    for (const [text, type] of [
      ['{\n"a":1}', "any"],
      ["[1,\r\n 2]", "integer[]"],
    ] as const)
      assert.deepEqual(JSON.parse(convert(text, [type])), { [type]: text });
  });

  it("refuses records with more or fewer fields than columns", () => {
    const columns = ["a", "b"].map((name) => ({ name, type: "text" }));
    for (const header of [true, false])
      for (const record of ["1", "1,2,3"]) {
        const dialect = { ...copyDialect, header };
        const read = createCsvToNdjson({ layers: { ...layers, dialect }, schema: { columns } });
        const text = `${header ? "a,b\n" : ""}1,2\n${record}\n`;
        assert.throws(() => read(Buffer.from(text)), {
          code: "integrity-failed",
          message: new RegExp(`a record has ${record.split(",").length} fields, and the export 2`),
        });
      }
    const empty = createCsvToNdjson({ layers, schema: { columns: [] } });
    assert.equal(Buffer.from(empty(Buffer.from("\n\n"))).toString(), '{"":null}\n');
  });
});

import assert from "node:assert/strict";
import * as fc from "fast-check";
import type { JsonForm } from "../../../src/stages/nouns.ts";
import { cellToJson, memberToJson, valueToJson } from "../../../src/stages/formats/json-text.ts";
import { column } from "../../fixtures/pipelines.ts";

const cell = (json: JsonForm, value: unknown) => cellToJson(column("c", json))(value);
const member = (json: JsonForm, value: unknown) => memberToJson(column("c", json))(value);

/** PostgreSQL's `escape_json` (src/backend/utils/adt/json.c), character by character. */
function escapeJson(text: string): string {
  const short: Record<string, string> = {
    "\b": "\\b",
    "\f": "\\f",
    "\n": "\\n",
    "\r": "\\r",
    "\t": "\\t",
    '"': '\\"',
    "\\": "\\\\",
  };
  const one = (char: string) =>
    short[char] ?? (char < " " ? `\\u${char.charCodeAt(0).toString(16).padStart(4, "0")}` : char);
  return `"${Array.from(text, one).join("")}"`;
}

describe("json-text", () => {
  it("escapes every character of the basic plane as PostgreSQL's escape_json does", () => {
    for (let code = 1; code < 0x10000; code += 1) {
      if (code >= 0xd800 && code < 0xe000) continue;
      const text = String.fromCharCode(code);
      assert.equal(cell("string", text), escapeJson(text));
    }
  });

  it("escapes any text as PostgreSQL's escape_json does", () => {
    fc.assert(
      fc.property(fc.string({ unit: "binary" }), (text) => {
        assert.equal(cell("string", text), escapeJson(text));
      }),
    );
  });

  it("escapes half a surrogate pair, which UTF-8 cannot hold", () => {
    assert.equal(cell("string", "a\ud800b"), '"a\\ud800b"');
    assert.equal(cell("json", '{"a":"\udfff"}'), '{"a":"\\udfff"}');
    assert.equal(cell("json", '"\u{1f600}"'), '"\u{1f600}"');
  });

  it("prints numbers as they stand, with every digit, and quotes what is no JSON number", () => {
    for (const text of ["0", "-1", "9223372036854775807", "1.10", "1e400", "-0.000", "1E-7"])
      assert.equal(cell("number", text), text);
    for (const text of ["NaN", "Infinity", "-Infinity", "", "01", "1.", ".5", "+1", "0x10", "1\n"])
      assert.equal(cell("number", text), JSON.stringify(text));
  });

  it("turns t and f into booleans and quotes anything else", () => {
    assert.equal(cell("boolean", "t"), "true");
    assert.equal(cell("boolean", "f"), "false");
    assert.equal(cell("boolean", "maybe"), '"maybe"');
  });

  it("keeps JSON text as stored, on one line", () => {
    assert.equal(cell("json", '{"b":1,  "a":1.00,"b":2}'), '{"b":1,  "a":1.00,"b":2}');
    assert.equal(cell("json", '{\r\n"a":\n1}'), '{  "a": 1}');
    assert.equal(cell("json", '"\\n\u2028"'), '"\\n\u2028"');
  });

  it("turns timestamps into ISO 8601 as PostgreSQL's JsonEncodeDateTime does", () => {
    const timestamps: [string, string][] = [
      ["2024-01-02 03:04:05", "2024-01-02T03:04:05"],
      ["2024-01-02 03:04:05.123456", "2024-01-02T03:04:05.123456"],
      ["0044-03-15 12:00:00 BC", "0044-03-15T12:00:00 BC"],
      ["294276-12-31 23:59:59.999999", "294276-12-31T23:59:59.999999"],
      ["infinity", "infinity"],
      ["-infinity", "-infinity"],
    ];
    for (const [text, iso] of timestamps) assert.equal(cell("timestamp", text), `"${iso}"`);
    const zoned: [string, string][] = [
      ["2024-01-02 03:04:05.1+00", "2024-01-02T03:04:05.1+00:00"],
      ["2024-01-02 03:04:05+05:30", "2024-01-02T03:04:05+05:30"],
      ["1890-01-01 00:00:00-04:56:02", "1890-01-01T00:00:00-04:56:02"],
      ["0044-03-15 12:00:00-08 BC", "0044-03-15T12:00:00-08:00 BC"],
      ["infinity", "infinity"],
    ];
    for (const [text, iso] of zoned) assert.equal(cell("timestamptz", text), `"${iso}"`);
  });

  it("quotes a timestamp of another DateStyle instead of guessing", () => {
    assert.equal(cell("timestamp", 'Tue "x" 02'), '"Tue \\"x\\" 02"');
  });

  it("prints null for a cell that is not there, in every form", () => {
    const forms: JsonForm[] = [
      "string",
      "number",
      "boolean",
      "json",
      "timestamp",
      "value",
      "jsonValue",
    ];
    for (const form of forms) {
      assert.equal(cell(form, null), "null");
      assert.equal(cell(form, undefined), "null");
    }
  });

  it("keeps every digit of big integers, at any depth", () => {
    assert.equal(valueToJson(2n ** 64n), "18446744073709551616");
    assert.equal(valueToJson({ a: [2n ** 64n] }), '{"a":[18446744073709551616]}');
  });

  it("prints null for values that JSON has none for", () => {
    for (const value of [undefined, () => 1, Symbol("s"), Number.NaN])
      assert.equal(valueToJson(value), "null");
  });

  it("keeps a member in its column's form as long as it still is one", () => {
    assert.equal(member("number", "12.50"), "12.50");
    assert.equal(member("number", "twelve"), '"twelve"');
    assert.equal(member("number", 12), "12");
    assert.equal(member("json", '{"a": 1.0}'), '{"a": 1.0}');
    assert.equal(member("json", "not JSON"), '"not JSON"');
    assert.equal(member("json", { a: 1 }), '{"a":1}');
    assert.equal(member("timestamp", "2024-01-02 03:04:05"), '"2024-01-02T03:04:05"');
    assert.equal(member("boolean", true), "true");
    assert.equal(member("string", null), "null");
    assert.equal(memberToJson(undefined)("x"), '"x"');
  });

  it("takes the texts among values for JSON where they are it, and for texts where not", () => {
    const texts = ['{"a": 1.10,\n"a": 2}', '"b"', "1.50", "null", "{a: 1}", "b", "\\x00ff", ""];
    const values = [5, 2n ** 64n, 0.5, null];
    for (const print of [cell, member])
      assert.deepEqual(
        [...texts, ...values].map((value) => print("jsonValue", value)),
        [
          '{"a": 1.10, "a": 2}',
          '"b"',
          "1.50",
          "null",
          '"{a: 1}"',
          '"b"',
          '"\\\\x00ff"',
          '""',
        ].concat(["5", "18446744073709551616", "0.5", "null"]),
      );
  });

  it("never prints what JSON.parse cannot read", () => {
    const forms = fc.constantFrom<JsonForm>(
      "string",
      "number",
      "boolean",
      "timestamptz",
      "jsonValue",
    );
    fc.assert(
      fc.property(forms, fc.string({ unit: "binary" }), (form, text) => {
        JSON.parse(cell(form, text));
      }),
    );
    fc.assert(
      fc.property(
        fc.constantFrom<JsonForm>("string", "number", "json"),
        fc.string(),
        (form, text) => {
          JSON.parse(member(form, text));
        },
      ),
    );
  });
});

import assert from "node:assert/strict";
import { printFloat, printNumber } from "../../../src/stages/sources/exact-texts.ts";
import type { Field } from "../../../src/stages/sources/mysql-connection.ts";
import { describeField } from "../../../src/stages/sources/mysql-values.ts";

/** A field as servers of other versions and other settings describe it. */
const fieldOf = (columnType: number, more: Partial<Field> = {}): Field => {
  const field: Partial<Field> = { name: "c", columnType, flags: 0, decimals: 0, columnLength: 11 };
  return { ...field, characterSet: 45, ...more } as Field;
};
const printed = (field: Field, value: unknown): string =>
  (describeField(field).print as (value: unknown) => string)(value);

describe("a value of MySQL", () => {
  it("that is a number keeps its sign and leads back to itself", () => {
    assert.equal(printNumber(-0), "-0");
    assert.equal(printFloat(Math.fround(16_777_216)), "16777216");
    for (const value of [0.1, 1 / 3, 3.4e38, 1.17e-38].map(Math.fround))
      assert.equal(Math.fround(Number(printFloat(value))), value);
    assert.equal(printed(fieldOf(16), Buffer.alloc(0)), "0");
    assert.equal(
      printed(fieldOf(16), Buffer.from("ffffffffffffffff", "hex")),
      "18446744073709551615",
    );
  });

  it("that is a DECIMAL is a number in every row, ZEROFILL or not", () => {
    const decimal = fieldOf(246, { decimals: 3, flags: 96 });
    const texts = ["0000001.500", "0000000.000", "0000000", "9999999.999", "-0.050", "100"];
    assert.deepEqual(
      texts.map((text) => printed(decimal, text)),
      ["1.500", "0.000", "0", "9999999.999", "-0.050", "100"],
    );
  });

  it("that is a FLOAT has the fewest digits that lead back to it, and its sign", () => {
    for (const text of ["1e-45", "1.4e-44", "1.1754942e-38", "-1.45283716e-11", "3.4028235e+38"])
      assert.equal(printFloat(Math.fround(Number(text))), text);
    assert.deepEqual([-0, -Infinity, NaN].map(printFloat), ["-0", "-Infinity", "NaN"]);
  });

  it("that the server alone takes for JSON is refused, and not shown", () => {
    const fields = [fieldOf(245), fieldOf(252, { extendedFormat: "json" })];
    for (const field of fields) {
      assert.equal(printed(field, '{"a": 1.10}'), '{"a": 1.10}');
      for (const text of ["7.", "[7.e5]", '"\\x7"'])
        assert.throws(() => printed(field, text), {
          code: "source-bad-data",
          message: /^[^7]*of type JSON is none[^7]*cast to char[^7]*$/,
        });
    }
  });

  it("that is a time has all digits of its column, and none where it has none", () => {
    assert.equal(
      printed(fieldOf(12, { decimals: 6 }), "2024-01-02 03:04:05"),
      "2024-01-02 03:04:05.000000",
    );
    assert.equal(
      printed(fieldOf(12, { decimals: 31 }), "2024-01-02 03:04:05"),
      "2024-01-02 03:04:05",
    );
    assert.equal(printed(fieldOf(7), "2024-01-02 03:04:05"), "2024-01-02 03:04:05+00");
    assert.equal(printed(fieldOf(7), "0000-00-00 00:00:00"), "0000-00-00 00:00:00");
  });

  it("is described by its type, whatever its age", () => {
    const types = ([type, more]: readonly [number, Partial<Field>?]) => {
      const { type: name, json } = describeField(fieldOf(type, more));
      return `${name}: ${json}`;
    };
    const fields = [
      [0],
      [246, { decimals: 2 }],
      [246, { flags: 32 }],
      [13],
      [14],
      [245],
      [6],
    ] as const;
    assert.deepEqual(fields.map(types), [
      "decimal(10,0): number",
      "decimal(9,2): number",
      "decimal(11,0): number",
      "year: number",
      "date: string",
      "json: json",
      "null: string",
    ]);
    const texts = [
      [254, { flags: 256 }],
      [254, { flags: 2048 }],
      [252, { characterSet: 63 }],
    ] as const;
    assert.deepEqual(texts.map(types), ["enum: string", "set: string", "blob: string"]);
  });

  it("of a type that only the server understands is refused by its column's name", () => {
    assert.throws(() => describeField(fieldOf(255)), {
      code: "source-refused",
      message: /column "c" .* ST_AsText/,
    });
  });
});

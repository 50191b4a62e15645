import assert from "node:assert/strict";
import type { Column } from "../../../src/stages/nouns.ts";
import { describeColumn } from "../../../src/stages/formats/parquet-columns.ts";
import { parseDays, parseTimestamp } from "../../../src/stages/formats/parquet-times.ts";

function convert(type: string, json: Column["json"], cells: readonly unknown[], isMember = true) {
  const column = describeColumn({ name: "c", type, json });
  return cells.map((cell) => column.convert(cell, isMember));
}

describe("a cell of a Parquet column", () => {
  it("is true or false in any source's spelling, and nothing else", () => {
    const cells = [true, false, "t", "true", "f", "false", "yes", 1];
    const values = [true, false, true, true, false, false, undefined, undefined];
    assert.deepEqual(convert("bool", "boolean", cells), values);
  });

  it("is a whole number within the bounds of its type, or none", () => {
    const cells = ["12", -7, "2147483648", 1.5, "1.0", true];
    assert.deepEqual(convert("int4", "number", cells), [
      12,
      -7,
      undefined,
      undefined,
      undefined,
      undefined,
    ]);
    const large = ["9223372036854775807", "9223372036854775808", "x"];
    assert.deepEqual(convert("int8", "number", large), [2n ** 63n - 1n, undefined, undefined]);
    assert.deepEqual(convert("ubigint", "number", ["18446744073709551615", "-1"]), [
      2n ** 64n - 1n,
      undefined,
    ]);
  });

  it("is a whole number in its one spelling", () => {
    const others = ["007", "-0", "+7", " 7", "7 ", [7], ["7"]];
    for (const type of ["int4", "int8", "ubigint"]) {
      const values = convert(type, "number", ["0", "7", 7, ...others]).map((value) =>
        value === undefined ? value : Number(value),
      );
      assert.deepEqual(values, [0, 7, 7, ...others.map(() => undefined)], type);
    }
    assert.deepEqual(convert("decimal(4,2)", "number", [["7"], "07"]), [undefined, 700n]);
  });

  it("is a number of 32 bits that has no more of them, or a text short for one", () => {
    const held = [0.5, 16777216, -0, "0.1", "3.4028235e38", "1e-45", "0e9", "Infinity"];
    const values = [0.5, 16777216, -0, Math.fround(0.1), 2 ** 128 - 2 ** 104, 2 ** -149, 0];
    assert.deepEqual(convert("float4", "number", held), [...values, Infinity]);
    const others = [0.1, 1e300, 16777217, 1e-300, "1e300", "-1e39", "1e-300", "1e999"];
    assert.deepEqual(
      convert("float", "number", others),
      others.map(() => undefined),
    );
    assert.deepEqual(convert("float8", "number", ["1e999", 16777217]), [undefined, 16777217]);
  });

  it("is JSON, also where a row function made another text of it", () => {
    const texts = (cells: readonly unknown[], isMember?: boolean) =>
      convert("jsonb", "json", cells, isMember).map((bytes) =>
        bytes ? new TextDecoder().decode(bytes as Uint8Array) : bytes,
      );
    const cells = ['{"a":\n1.10}', "null", "hello", "", "\ud800", new Date(0), { a: [1n] }, NaN];
    assert.deepEqual(texts(cells), [
      '{"a":\n1.10}',
      "null",
      '"hello"',
      '""',
      '"\\ud800"',
      '"1970-01-01T00:00:00.000Z"',
      '{"a":[1]}',
      undefined,
    ]);
    assert.throws(() => texts(['"\ud800"']), /surrogate/);
    assert.deepEqual(texts(["printed by the source"], false), ["printed by the source"]);
  });

  it("is a number with a point, or one of the three that are none", () => {
    const cells = [1.5, "2.5e3", "NaN", "-Infinity", "1,5", "", null];
    const values = [1.5, 2500, NaN, -Infinity, undefined, undefined, undefined];
    assert.deepEqual(convert("float8", "number", cells), values);
  });

  it("is a decimal whose digits fit, with their sign", () => {
    const cells = ["-12.3", "999.99", "1000", "1.234", "NaN"];
    assert.deepEqual(convert("decimal(5,2)", "number", cells), [
      -1230n,
      99_999n,
      undefined,
      undefined,
      undefined,
    ]);
  });

  it("is bytes as their server spells them, or none", () => {
    const [bytes, ...none] = convert("bytea", "string", ["\\x00ff", "\\x0", "00ff", 7]);
    assert.deepEqual(bytes, Uint8Array.of(0, 255));
    assert.deepEqual(none, [undefined, undefined, undefined]);
  });

  it("is a day or an instant, from a text or a date, and none where there is no such day", () => {
    const noon = new Date("2024-02-29T12:00:00.123Z");
    assert.equal(parseDays(noon), parseDays("2024-02-29"));
    for (const none of [new Date(NaN), "infinity", "2023-02-29", "0000-00-00"])
      assert.equal(parseDays(none), undefined);
    const micros = BigInt(noon.getTime()) * 1000n;
    assert.equal(parseTimestamp(noon, "MICROS", true), micros);
    assert.equal(parseTimestamp(new Date(NaN), "MICROS", true), undefined);
    for (const text of ["12:00:00.123Z", "06:30:00.123-05:30", "14:00:00.123+02"])
      assert.equal(parseTimestamp(`2024-02-29 ${text}`, "MICROS", true), micros, text);
    for (const none of ["12:00:00", "25:00:00Z", "12:60:00Z", "12:00:61Z", "12:00:00.1234567Z"])
      assert.equal(parseTimestamp(`2024-02-29 ${none}`, "MICROS", true), undefined, none);
  });
});

import assert from "node:assert/strict";
import * as fc from "fast-check";
import { parseExact } from "../../../src/stages/sources/json-values.ts";

const digits = (least: number, most: number) =>
  fc.string({
    unit: fc.constantFrom(...Array.from("0123456789")),
    minLength: least,
    maxLength: most,
  });
const whole = fc.oneof(
  fc.constant("0"),
  fc
    .tuple(fc.constantFrom(...Array.from("123456789")), digits(0, 22))
    .map((parts) => parts.join("")),
);
const fraction = fc.oneof(
  fc.constant(""),
  digits(1, 22).map((text) => `.${text}`),
);
const exponent = fc.oneof(
  fc.constant(""),
  fc.tuple(fc.constantFrom("e", "E"), fc.constantFrom("", "+", "-"), digits(1, 3)),
);
const number = fc
  .tuple(fc.constantFrom("", "-"), whole, fraction, exponent)
  .map((parts) => parts.flat().join(""));

describe("exact JSON", () => {
  it("prints every number as it was written, wherever it stands", () => {
    fc.assert(
      fc.property(number, (text) => {
        for (const json of [`{"a":${text}}`, `[1,${text},2]`, `{"a":"${text}","b":[${text}]}`]) {
          assert.equal(JSON.stringify(parseExact(json)), json);
        }
        assert.equal(JSON.stringify(parseExact(`[ ${text}\t, ${text}\r\n]`)), `[${text},${text}]`);
      }),
      { numRuns: 3000 },
    );
  });

  it("gives numbers that JavaScript prints alike as numbers", () => {
    assert.deepEqual(
      parseExact("[0,1.5,-72.25,1e+30,9007199254740992]"),
      [0, 1.5, -72.25, 1e30, 9007199254740992],
    );
  });

  it("leaves texts that look like numbers alone", () => {
    const json =
      '{"a":"1.10","b":"-0","c":["9007199254740993","x:1.10,"],"1.10":"2026-01-01T00:00:05.120Z"}';
    assert.equal(JSON.stringify(parseExact(json)), json);
  });
});

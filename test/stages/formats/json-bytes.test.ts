/** The bytes against the texts they must be: `json-text.ts` is the plain form of every writer here. */
import assert from "node:assert/strict";
import * as fc from "fast-check";
import { cellWriter, memberWriter } from "../../../src/stages/formats/json-bytes.ts";
import { cellToJson, memberToJson } from "../../../src/stages/formats/json-text.ts";
import { createRecordBuffer } from "../../../src/stages/formats/record-buffer.ts";
import type { JsonForm } from "../../../src/stages/nouns.ts";
import { column } from "../../fixtures/pipelines.ts";

const jsonTexts = fc.oneof(
  fc.json(),
  fc.json().map((text) => text.replaceAll(",", ",\r\n")),
  fc.string({ unit: "binary" }),
);
const texts: Record<JsonForm, fc.Arbitrary<string>> = {
  value: fc.string({ unit: "binary" }),
  string: fc.string({ unit: "binary", maxLength: 600 }),
  number: fc.oneof(
    fc.double().map(String),
    fc.bigInt().map(String),
    fc.stringMatching(/^-?\d{1,400}\.\d{1,9}$/),
    fc.constantFrom("NaN", "Infinity", "-Infinity", "01", "1.", "+1", ""),
  ),
  boolean: fc.constantFrom("t", "f", "true", "false", "maybe", "ü"),
  json: jsonTexts,
  jsonValue: jsonTexts,
  timestamp: fc.oneof(
    fc.stringMatching(/^\d{4,6}-\d\d-\d\d \d\d:\d\d:\d\d(\.\d{1,6})?( BC)?$/),
    fc.constantFrom("infinity", "-infinity", 'Tue "x" 02', "2024-01-02"),
  ),
  timestamptz: fc.oneof(
    fc.stringMatching(/^\d{4,5}-\d\d-\d\d \d\d:\d\d:\d\d(\.\d{1,6})?[+-]\d\d(:\d\d){0,2}( BC)?$/),
    fc.constantFrom("infinity", "2024-01-02 03:04:05"),
  ),
};
const forms = Object.keys(texts) as JsonForm[];

const values = fc.oneof(
  fc.constantFrom(null, undefined, true, false, Number.NaN, Infinity, -0, new Date(0)),
  fc.integer(),
  fc.double(),
  fc.bigInt(),
  fc.jsonValue(),
  fc.bigInt().map((big) => ({ deep: [big, "é"] })),
);

function written(write: (out: ReturnType<typeof createRecordBuffer>) => void): string {
  const out = createRecordBuffer();
  write(out);
  return Buffer.from(out.view().bytes).toString();
}

describe("json-bytes", () => {
  for (const form of forms) {
    it(`writes cells and members of form ${form} as json-text says`, () => {
      const hint = column("c", form);
      const [cell, member] = [cellWriter(hint), memberWriter(hint)];
      fc.assert(
        fc.property(
          fc.oneof(texts[form], texts.string, fc.constantFrom(null, undefined)),
          (text) => {
            assert.equal(
              written((out) => cell(text, out)),
              cellToJson(hint)(text),
            );
          },
        ),
      );
      fc.assert(
        fc.property(fc.oneof(texts[form], texts.string, values), (value) => {
          assert.equal(
            written((out) => member(value, out)),
            memberToJson(hint)(value),
          );
        }),
      );
    });
  }

  it("writes any value of a column of values, and of no column, as json-text says", () => {
    const hint = column("c", "value");
    fc.assert(
      fc.property(values, (value) => {
        assert.equal(
          written((out) => cellWriter(hint)(value, out)),
          cellToJson(hint)(value),
        );
        assert.equal(
          written((out) => memberWriter(undefined)(value, out)),
          memberToJson(undefined)(value),
        );
      }),
    );
  });

  it("writes a long text, which it takes in parts, as json-text says", () => {
    const [write, toJson] = [cellWriter(column("c")), cellToJson(column("c"))];
    const units = fc.constantFrom("a", "é", "\u0001", '"', "😀", "\ud83d", "\ude00");
    const texts = fc.string({ unit: units, minLength: 4090, maxLength: 9000, size: "max" });
    fc.assert(
      fc.property(texts, (text) => {
        assert.equal(
          written((out) => write(text, out)),
          toJson(text),
        );
      }),
      { numRuns: 50 },
    );
  });

  it("writes every character of the basic plane as json-text says", () => {
    const [write, toJson] = [cellWriter(column("c")), cellToJson(column("c"))];
    const characters: string[] = [];
    for (let code = 0; code < 0x10000; code += 1) {
      characters.push(`a${String.fromCharCode(code)}b`);
    }
    const out = written((buffer) => {
      for (const text of characters) write(text, buffer);
    });
    assert.ok(out === characters.map(toJson).join(""));
  });
});

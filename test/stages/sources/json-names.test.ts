import assert from "node:assert/strict";
import * as fc from "fast-check";
import { parseExact } from "../../../src/stages/sources/json-values.ts";

/** Each character as it stands, or as an escape where it may be one. */
const written = (text: string, escaped: (at: number) => boolean): string =>
  Array.from({ length: text.length }, (_, at) =>
    escaped(at)
      ? `\\u${text.charCodeAt(at).toString(16).padStart(4, "0")}`
      : JSON.stringify(text[at]).slice(1, -1),
  ).join("");

describe("names of JSON", () => {
  const namesOf = (text: string) => Object.keys(parseExact(text) as object);

  it("that are written with escapes are their own, whatever was read before", () => {
    for (const rest of ["2", "2.50"]) {
      assert.deepEqual(namesOf(String.raw`{"a":1,"b\\":${rest}}`), ["a", "b\\"]);
      for (const escape of [String.raw`\n`, String.raw`\"`, String.raw`\u00e9`])
        assert.deepEqual(namesOf(`{"a":1,"b${escape}" :${rest}}`), [
          "a",
          JSON.parse(`"b${escape}"`),
        ]);
    }
  });

  it("and their values are the same, whichever characters are escaped", () => {
    const text = fc.string({ unit: fc.constantFrom(...Array.from('ab~0:\\"\n {}')), maxLength: 5 });
    const value = fc.oneof(text, fc.constantFrom(1, null, true));
    const flat = fc.dictionary(text, value, { noNullPrototype: true });
    const document = fc.dictionary(text, fc.oneof(value, flat, fc.array(flat)), {
      noNullPrototype: true,
    });
    fc.assert(
      fc.property(document, fc.infiniteStream(fc.boolean()), (expected, coins) => {
        const print = (value: unknown): string => {
          if (typeof value === "string") return `"${written(value, () => coins.next().value)}"`;
          if (typeof value !== "object" || value === null) return JSON.stringify(value);
          if (Array.isArray(value)) return `[${value.map(print).join(",")}]`;
          const members = Object.entries(value).map(
            ([key, one]) => `${print(key)} : ${print(one)}`,
          );
          return `{${members.join(",")}}`;
        };
        assert.deepEqual(parseExact(print(expected)), expected);
      }),
      { numRuns: 2000 },
    );
  });

  it("may repeat, be the prototype's, and stand in no JSON", () => {
    assert.deepEqual(parseExact(String.raw`{"a":1,"\u0061":2,"~0":3,"\u007e1":4}`), {
      a: 2,
      "~0": 3,
      "~1": 4,
    });
    assert.deepEqual(
      Object.entries(parseExact(String.raw`{"b":0,"/":1,"\/":2,"/":3,"\u0031":4,"1":5}`) as object),
      [
        ["1", 5],
        ["b", 0],
        ["/", 3],
      ],
    );
    assert.deepEqual(Object.entries(parseExact(String.raw`{"\u005f_proto__":{"x":1}}`) as object), [
      ["__proto__", { x: 1 }],
    ]);
    for (const broken of [String.raw`{"a"\n":1}`, String.raw`{"\x":1}`, String.raw`{"a\":1}`, "\\"])
      assert.throws(() => parseExact(broken), SyntaxError, broken);
  });
});

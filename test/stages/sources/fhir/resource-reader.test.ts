import assert from "node:assert/strict";
import * as fc from "fast-check";
import {
  readResource,
  type Resource,
} from "../../../../src/stages/sources/fhir/resource-reader.ts";

/** What is told of a resource, by the parser that everybody knows. */
function parsed(text: string) {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch {
    return "broken";
  }
  const { resourceType } = (value ?? {}) as { resourceType?: unknown };
  return typeof resourceType === "string" ? told(value as Resource) : "untyped";
}

const told = ({ resourceType, id, meta }: Resource) => ({
  resourceType,
  id,
  versionId: meta?.versionId,
  tag: meta?.tag,
});

const read = (text: string) => {
  const resource = readResource(Buffer.from(text));
  return typeof resource === "string" ? resource : told(resource);
};

const agrees = (text: string) => assert.deepEqual(read(text), parsed(text), text);

const name = fc.oneof(
  fc.constantFrom("resourceType", "id", "meta", "versionId", "tag", "__proto__", "a", ""),
  fc.string({ unit: "binary" }),
);
const { value } = fc.letrec((tie) => ({
  value: fc.oneof(
    { depthSize: "small", withCrossShrink: true },
    fc.constantFrom(null, true, false, 0, -0, 1e21, 5e-324, "", "a\u0000\u2028\ud800"),
    fc.double({ noNaN: true, noDefaultInfinity: true }),
    fc.string({ unit: "binary" }),
    fc.array(tie("value"), { maxLength: 4 }),
    fc.dictionary(name, tie("value"), { maxKeys: 6 }),
  ),
}));
const resource = fc.record(
  {
    resourceType: fc.oneof(fc.constantFrom("Patient", "OperationOutcome", 'a"\\'), value),
    id: value,
    meta: fc.oneof(fc.record({ versionId: value, tag: value }, { requiredKeys: [] }), value),
    contained: value,
  },
  { requiredKeys: [] },
);

describe("what is read of a resource", () => {
  it("is what its parser says, however it is written", () => {
    const indent = fc.constantFrom<string | number>("", " ", "\t", 3, "\r\n");
    const property = fc.property(fc.oneof(resource, value), indent, (made, spaces) =>
      agrees(JSON.stringify(made, null, spaces)),
    );
    fc.assert(property, { numRuns: 2000 });
  });

  it("is refused exactly when its parser refuses it, wherever bytes are changed, lost or added", () => {
    const byte = fc.constantFrom(
      ...'"\\{}[]:,.+-0123456789eEtrufalsn \t\n\r\u0001\u007fxX/bé'.split(""),
    );
    const edit = fc.record({
      at: fc.double({ min: 0, max: 1, noNaN: true }),
      cut: fc.nat(2),
      put: byte,
    });
    const property = fc.property(resource, fc.array(edit, { maxLength: 4 }), (made, edits) => {
      let text = JSON.stringify(made);
      for (const { at, cut, put } of edits) {
        const place = Math.floor(at * text.length);
        text = text.slice(0, place) + put + text.slice(place + cut);
      }
      // What bytes say is all that is compared: a lone half of a pair has none.
      agrees(text.toWellFormed());
    });
    fc.assert(property, { numRuns: 4000 });
  });

  it("is what its parser says of numbers, words, escapes and members that repeat", () => {
    const values =
      "0 -0 01 -01 1. .5 1.5 1e 1e5 1E+05 1e-5 1e+ - + 00 0x1 Infinity NaN tru true truee nul null fals false falsee " +
      '"\\u12" "\\u12g4" "\\u00e9" "\\x" "\\" "a "\t" "\u007f" [] [1,] [,1] [1 2] {} {"a"} {"a":} {"a":1,} {,} ] }';
    for (const text of values.split(" ")) {
      agrees(`{"resourceType":"A","id":${text}}`);
      agrees(`{"resourceType":"A","meta":{"versionId":"1"},"x":[${text}]}`);
      agrees(text);
    }
    agrees('{"resourceType":"A","resourceType":"B","id":"1","id":2,"id":"3"}');
    agrees('{"resourceType":"A","meta":{"versionId":"1","tag":[1]},"meta":{"tag":[2],"tag":[3]}}');
    agrees('{"resourceType":"A","meta":{"versionId":"1"},"meta":null}');
    agrees('{"resourceType":"A","meta":[{"versionId":"1"}],"x":{"meta":{"versionId":"2"}}}');
    agrees('{"resource\\u0054ype":"A","i\\u0064":"1","meta":{"version\\u0049d":"1"}}');
    agrees('\ufeff{"resourceType":"A"}');
    agrees(' {"resourceType":"A"}\n\t\r ');
    agrees('{"resourceType":"A"} x');
    agrees("");
  });

  it("is that of each resource, however much it is like the one before", () => {
    const versions = ["1", "1", "2", "v".repeat(58), "v".repeat(58), `${"v".repeat(57)}w`];
    versions.push("v".repeat(59), "v".repeat(59), "w".repeat(59), "w".repeat(70), "w", "1");
    const tags = ["null", '"1"', "[1]", '[{"code":"SUBSETTED"}]', '[{"code":"SUBSETTEE"}]'];
    for (const [at, version] of versions.entries())
      for (const tag of tags)
        for (const type of ["Patient", "Patieny", "1"])
          agrees(
            `{"resourceType":"${type}","id":"${at % 3}","meta":{"versionId":"${version}","tag":${tag}}}`,
          );
  });

  it("is the same of large and of deep ones", () => {
    agrees(`{"resourceType":"A","text":"${"x".repeat(300_000)}","id":"1"}`);
    agrees(`{"resourceType":"A","text":"${"x".repeat(300_000)}","id":1 2}`);
    for (const depth of [126, 127, 128, 5000])
      agrees(`{"resourceType":"A","x":${"[".repeat(depth)}${"]".repeat(depth)},"id":"1"}`);
  });

  it("is refused when it is not UTF-8", () => {
    assert.equal(
      readResource(Buffer.from('{"resourceType":"A","id":"\xff"}', "latin1")),
      "not UTF-8",
    );
  });
});

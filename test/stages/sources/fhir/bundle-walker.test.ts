import assert from "node:assert/strict";
import * as fc from "fast-check";
import { PipelineError } from "../../../../src/errors.ts";
import { BundleWalker } from "../../../../src/stages/sources/fhir/bundle-walker.ts";
import { createResourceBuffer } from "../../../../src/stages/sources/fhir/resource-buffer.ts";

/** What is found in a document that comes in pieces of `size`. */
function walk(document: string | Uint8Array, size: number, maxRecord = 1e6) {
  const buffer = createResourceBuffer();
  const resources: string[] = [];
  const entries: string[] = [];
  const walker = new BundleWalker(buffer, maxRecord, {
    onResource: () => void resources.push(Buffer.from(buffer.view()).toString()),
    onEntry(text) {
      entries.push(text);
      buffer.drop();
    },
  });
  const bytes = Buffer.from(document);
  for (let at = 0; at < bytes.length; at += size) {
    const piece = bytes.subarray(at, at + size);
    // Stopped before an entry, it goes on from there.
    for (let from = 0; (from = walker.walk(piece, from, true)) < piece.length;);
  }
  return { resources, entries, envelope: walker.finish() };
}

/** The same, or that it was refused. */
const outcome = (document: string, size: number) => {
  try {
    return walk(document, size);
  } catch (error) {
    assert.ok(error instanceof PipelineError, String(error));
    return "refused";
  }
};

const parses = (text: string): boolean => {
  try {
    JSON.parse(text);
    return true;
  } catch {
    return false;
  }
};

const resource = fc.dictionary(fc.string(), fc.jsonValue());
const bundle = fc.record(
  {
    link: fc.jsonValue(),
    entry: fc.array(fc.record({ fullUrl: fc.string(), resource, search: fc.jsonValue() })),
    "en\\try": fc.jsonValue(),
    resource: fc.jsonValue(),
    deeper: fc.record({ entry: fc.array(fc.record({ resource })) }),
  },
  { requiredKeys: ["entry"] },
);
const pieces = fc.integer({ min: 1, max: 40 });
const spaces = fc.constantFrom<string | number>("", " ", "\t", 4);

describe("a Bundle that is walked", () => {
  it("gives its resources and what is around them, however it is written and split", () => {
    fc.assert(
      fc.property(bundle, spaces, pieces, (made, indent, size) => {
        const { resources, entries, envelope } = walk(JSON.stringify(made, null, indent), size);
        assert.deepEqual(
          resources,
          made.entry.map((one) => JSON.stringify(one.resource)),
        );
        assert.deepEqual(
          entries,
          made.entry.map((one) => JSON.stringify({ ...one, resource: "" })),
        );
        assert.equal(envelope, JSON.stringify({ ...made, entry: made.entry.map(() => "") }));
      }),
      { numRuns: 80 },
    );
  });

  it("keeps long strings whole, wherever they are split", () => {
    const plain = "x".repeat(90);
    const resource = { a: `${plain}"${plain}\\${plain}`, b: plain, c: `${plain}\\`, d: "" };
    const document = JSON.stringify({ entry: [{ fullUrl: `${plain}"`, resource }] });
    for (let size = 1; size <= document.length; size += 1) {
      const { resources, entries } = walk(document, size);
      assert.deepEqual(resources, [JSON.stringify(resource)], `in pieces of ${size}`);
      assert.deepEqual(entries, [JSON.stringify({ fullUrl: `${plain}"`, resource: "" })]);
    }
  });

  it("is JSON in all its parts only when it was JSON as a whole", () => {
    const letters = fc.constantFrom(
      ...Array.from('{}[]:,"\\0123 eE.-+ntf\n\u00e9'),
      "e5",
      ".0",
      '"entry":',
      '"resource":',
    );
    fc.assert(
      fc.property(
        bundle,
        fc.array(fc.tuple(fc.nat(), fc.constantFrom("insert", "drop", "swap"), letters), {
          maxLength: 3,
        }),
        pieces,
        (made, changes, size) => {
          let text = JSON.stringify(made, null, 1);
          for (const [place, kind, letter] of changes) {
            const at = place % (text.length + 1);
            text =
              text.slice(0, at) +
              (kind === "drop" ? "" : letter) +
              text.slice(at + (kind === "insert" ? 0 : 1));
          }
          const found = outcome(text, size);
          const isWhole =
            found !== "refused" &&
            [...found.resources, ...found.entries, found.envelope].every(parses);
          assert.equal(isWhole, parses(text) && /^\s*[{[]/.test(text), text);
        },
      ),
      // To shrink a Bundle takes minutes.
      { numRuns: 250, endOnFailure: true },
    );
  });

  it("is refused when white space stands inside a number or a word", () => {
    for (const broken of [
      '{"total":1 2}',
      '{"total":tr ue}',
      '{"a":[1 2]}',
      '{"entry":[{"resource":{"a":1\n2}}]}',
      '{"entry":[3{"resource":{"a":1}}]}',
      '{"entry":[{"resource":3 {"a":1}}]}',
    ])
      assert.equal(outcome(broken, 3), "refused", broken);
  });

  it("is refused at once when a resource grows beyond what is allowed", () => {
    const document = JSON.stringify({ entry: [{ resource: { data: "x".repeat(2000) } }] });
    assert.throws(() => walk(document, 100, 1000), /larger than maxRecord \(1000 bytes\)/);
    assert.throws(() => walk(`{"a":"${"x".repeat(5e6)}"}`, 65536), /beside its resources/);
  });
});

/** Entries are taken whole or walked, and nobody can tell which. */
import assert from "node:assert/strict";
import * as fc from "fast-check";
import { PipelineError } from "../../../../src/errors.ts";
import { BundleReader } from "../../../../src/stages/sources/fhir/bundle-reader.ts";
import { BundleWalker } from "../../../../src/stages/sources/fhir/bundle-walker.ts";
import { Harvest } from "../../../../src/stages/sources/fhir/harvest.ts";
import { inletBytes } from "../../../../src/stages/sources/fhir/machine.ts";
import { createEvents } from "../../../../src/stages/sources/fhir/search.ts";

/** What a page gives that comes in pieces, or what is wrong with it; and how many entries were taken whole. */
function read(document: string | Uint8Array, sizes: readonly number[], options: Options = {}) {
  const { walked = false, maxRecord = 2 ** 20 } = options;
  const harvest = new Harvest("page");
  const told: string[] = [];
  let whole = 0;
  const events = createEvents(harvest, "page", { info() {}, warn: (text) => void told.push(text) });
  const counted = {
    ...events,
    onWhole(...args: Parameters<typeof events.onWhole>) {
      whole += 1;
      events.onWhole(...args);
    },
  };
  const walker = new BundleWalker(harvest.buffer, maxRecord, events);
  const reader = new BundleReader(harvest.buffer, maxRecord, counted);
  const push = (piece: Uint8Array) => {
    if (!walked) return reader.push(piece);
    for (let at = 0; (at = walker.walk(piece, at, true)) < piece.length;);
  };
  harvest.begin();
  const bytes = Buffer.from(document);
  try {
    for (let at = 0, turn = 0; at < bytes.length; turn += 1)
      push(bytes.subarray(at, (at += sizes[turn % sizes.length]!)));
    const envelope = walked ? walker.finish() : reader.finish();
    const [all] = harvest.take();
    const text = Buffer.from(all?.bytes ?? []).toString("latin1");
    return { whole, found: { text, marks: all?.marks ?? [], envelope, told } };
  } catch (error) {
    assert.ok(error instanceof PipelineError, String(error));
    return { whole, found: error.message };
  }
}

interface Options {
  readonly walked?: boolean;
  readonly maxRecord?: number;
}

/** Reads both ways; gives how many entries were taken whole. */
function agrees(document: string | Uint8Array, sizes: readonly number[], maxRecord = 2 ** 20) {
  const { whole, found } = read(document, sizes, { maxRecord });
  const walked = read(document, sizes, { maxRecord, walked: true }).found;
  assert.deepEqual(found, walked, Buffer.from(document).toString().slice(0, 2000));
  return { whole, found };
}

const name = fc.oneof(
  fc.constantFrom("resourceType", "id", "meta", "versionId", "resource", "search", "mode", "entry"),
  fc.string({ unit: "binary", maxLength: 6 }),
);
const { value } = fc.letrec((tie) => ({
  value: fc.oneof(
    { depthSize: "small" },
    fc.constantFrom(null, true, 0, -1.5e21, "", 'a"\\\u0000\u2028', "outcome", "include"),
    fc.string({ unit: "grapheme" }),
    fc.array(tie("value"), { maxLength: 3 }),
    fc.dictionary(name, tie("value"), { maxKeys: 4 }),
  ),
}));
const resource = fc.record(
  {
    resourceType: fc.constantFrom("Patient", "Observation", "Observation", "OperationOutcome"),
    id: fc.oneof(fc.constantFrom("a", "b", 'c"'), value),
    meta: fc.oneof(fc.record({ versionId: value, tag: value }, { requiredKeys: [] }), value),
    more: value,
  },
  { requiredKeys: ["resourceType"] },
);
const mode = fc.oneof(fc.constantFrom("match", "include", "outcome"), value);
const entry = fc.record(
  { fullUrl: value, resource, search: fc.oneof(fc.record({ mode }), value), link: value },
  { requiredKeys: ["resource"] },
);
const bundle = fc.record({
  resourceType: fc.constant("Bundle"),
  total: value,
  entry: fc.array(entry, { maxLength: 6 }),
  link: value,
});
const spaces = fc.constantFrom<string | number>("", "", " ", "\t", 3, "\r\n");
const pieces = fc.array(fc.integer({ min: 1, max: 3000 }), { minLength: 1, maxLength: 4 });
const runs = 400;

describe("a Bundle that is read", () => {
  it("gives what its parser gives, in the bytes of its server, whichever way entries come", () => {
    let taken = 0;
    const property = fc.property(bundle, spaces, pieces, (made, indent, sizes) => {
      const { whole, found } = agrees(JSON.stringify(made, null, indent), sizes);
      taken += whole;
      if (typeof found === "string") return assert.match(found, /the server says/);
      const data = made.entry.filter((one) => !isAside(one));
      const text = data.map((one) => `${JSON.stringify(one.resource)}\n`).join("");
      assert.equal(found.text, Buffer.from(text).toString("latin1"));
      const included = data.map((one) => modeOf(one) === "include");
      assert.deepEqual(
        found.marks.map((mark) => mark.included),
        included,
      );
    });
    fc.assert(property, { numRuns: runs });
    assert.ok(taken > runs / 2, `${taken} entries were taken whole`);
  });

  it("is refused alike, wherever bytes are changed, lost or added", () => {
    const byte = fc.oneof(
      fc.constantFrom(...'"\\{}[]:,.+-0123eEtrufalsn \t\n\u0001x\x80\xff'.split("")),
      fc.constantFrom('"resource":', '"search":', '"resource":{"resourceType":"A"},', "]}"),
    );
    const edit = fc.record({
      at: fc.double({ min: 0, max: 1, noNaN: true }),
      cut: fc.nat(2),
      put: byte,
    });
    const edits = fc.array(edit, { minLength: 1, maxLength: 3 });
    const property = fc.property(bundle, spaces, pieces, edits, (made, indent, sizes, changes) => {
      let text = Buffer.from(JSON.stringify(made, null, indent)).toString("latin1");
      for (const { at, cut, put } of changes) {
        const place = Math.floor(at * text.length);
        text = text.slice(0, place) + put + text.slice(place + cut);
      }
      agrees(Buffer.from(text, "latin1"), sizes);
    });
    fc.assert(property, { numRuns: 2 * runs });
  });

  it("is the same wherever the inlet ends, at every byte of it and of what is left of it", () => {
    const text = JSON.stringify({
      entry: [
        { fullUrl: "urn:1", resource: { resourceType: "A", id: "1" }, search: { mode: "match" } },
        { resource: { resourceType: 'B\\"é', meta: { versionId: "1" } }, search: { mode: "x\n" } },
        { search: { mode: "include" }, resource: { resourceType: "C", id: "}", x: [1.5e3, true] } },
      ],
    });
    for (let at = 0; at <= Buffer.byteLength(text); at += 1) {
      const start = `{"pad":"${"x".repeat(inletBytes / 2 - at - 10)}",`;
      const { whole, found } = agrees(start + text.slice(1), [inletBytes]);
      assert.ok(typeof found !== "string" && found.marks.length === 3);
      assert.equal(whole, 3);
      const broken = `${start}${text.slice(1, at)}\u0001${text.slice(at + 1)}`;
      if (at > 0 && at < text.length) agrees(broken, [inletBytes]);
    }
  });

  it("is the same of entries larger than half the inlet, than all of it, and than is allowed", () => {
    const large = (bytes: number) => ({
      resource: { resourceType: "A", id: `${bytes}`, data: "é".repeat(bytes / 2) },
    });
    const sizes = [10, 60_000, 70_000, 10, 131_000, 131_072, 300_000, 10, 65_400, 20, 65_536, 30];
    const text = JSON.stringify({ entry: sizes.map(large) });
    for (const size of [1000, 16_384, 65_536, inletBytes, 1e6]) {
      const { whole, found } = agrees(text, [size]);
      assert.ok(typeof found !== "string" && found.marks.length === sizes.length);
      assert.ok(whole >= 5, `${whole} were taken whole in pieces of ${size}`);
      const { found: refused } = agrees(text, [size], 65_000);
      assert.ok(typeof refused === "string" && refused.includes("larger than maxRecord (65000"));
    }
    const spaced = `{"entry":[{"resource":{"resourceType":"A"${" ".repeat(500)}}}]}`;
    assert.ok(typeof agrees(spaced, [100], 100).found !== "string");
  });

  it("is the same of entries that are unusual", () => {
    const good = '{"resource":{"resourceType":"A","id":"1"}}';
    const held = '"resource":{"resourceType":"A","id":"2"}';
    for (const odd of [
      `{${held},${held}}`,
      `{${held},"resource":0}`,
      `{${held},"resource":null}`,
      `{"\\u0072esource":{"resourceType":"A"}}`,
      `{${held},"search":{"mode":"include"},"search":{}}`,
      `{${held},"search":{"m\\u006fde":"include"}}`,
      `{${held},"search":{"mode":"inclu\\u0064e"}}`,
      `{${held},"search":[{"mode":"include"}]}`,
      `{${held},"request":{"mode":"include","resource":{},"search":{"mode":"include"}}}`,
      `{"x":{"resourceType":"B","id":"3","meta":{"versionId":"3"}},${held}}`,
      `{"resource":{"resourceType":"A","resource":{"id":"4"},"meta":{"meta":{"tag":1}}}}`,
      `{"resource":{"resourceType":"A","contained":[{"id":"5"}],"search":{"mode":"include"}}}`,
      `{"resource":{"resourceType":"OperationOutcome","issue":[{"severity":"warning"}]}}`,
      `{"resource":{"resourceType":"OperationOutcome","issue":[{"severity":"error"}]}}`,
      `{"resource":{"resourceType":1}}`,
      `{"resource":{"deep":${"[".repeat(300)}${"]".repeat(300)},"resourceType":"A"}}`,
      `{"resource":[],"search":{}}`,
      "{}",
      "[]",
      "1",
      `1 ${good}`,
      `"a" ${good}`,
      `1 "a"${good}`,
      `1 "a"${good}2`,
    ])
      for (const size of [1, 7, 1000])
        agrees(`{"resourceType":"Bundle","entry":[${good},${odd},${good}]}`, [size]);
    const notText = Buffer.from(`{"entry":[${good},${good.replace("1", "\xe9")}]}`, "latin1");
    assert.equal(agrees(notText, [50]).found, "page, resource 2: not valid UTF-8");
    const aside = good.replace("}}", '},"fullUrl":"\xe9"}');
    assert.equal(agrees(Buffer.from(`{"entry":[${aside}]}`, "latin1"), [50]).whole, 1);
  });
});

const modeOf = ({ search }: { search?: unknown }): unknown =>
  (search as { mode?: unknown } | null | undefined)?.mode;

const isAside = (one: { search?: unknown; resource: { resourceType: string } }): boolean =>
  one.resource.resourceType === "OperationOutcome" || modeOf(one) === "outcome";

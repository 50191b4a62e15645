import assert from "node:assert/strict";
import * as fc from "fast-check";
import { namesAlike } from "../../../src/stages/destinations/record-layout.ts";
import { readMembers, type Members } from "../../../src/stages/destinations/record-members.ts";

const page = (...lines: string[]) => Buffer.from(lines.map((line) => `${line}\n`).join(""));
const pageOf = (...records: object[]) => page(...records.map((one) => JSON.stringify(one)));

function namesAndNulls(line: string) {
  const members: Members = { names: [], values: [], count: 0 };
  readMembers(line, members);
  const names = members.names.slice(0, members.count).map((name) => JSON.parse(name) as string);
  return { names, nulls: names.filter((_, at) => members.values[at] === "null") };
}

const texts = fc.constantFrom(
  "a",
  "b",
  "ö",
  "__proto__",
  "a.b*",
  '"',
  "\\",
  "}\n",
  "\0",
  "null",
  "[{,:",
);
const values = fc.oneof(texts, fc.jsonValue({ maxDepth: 2 }));
const members = fc.array(fc.tuple(texts, values), { minLength: 1, maxLength: 4 });

describe("the layout of records", () => {
  it("names what all have, whatever the values are", () => {
    const first = { größe: 1, 'a"\\': "x", "c.*": null, n: { a: [{ b: ['}\\"', 1e-7] }] } };
    const second = { größe: -2.5e8, 'a"\\': '{"', "c.*": [[], {}], n: null };
    assert.deepEqual(namesAlike(pageOf(first, second), ["größe"]), Object.keys(first));
  });

  it("is one of blocks of records too, and of none where a record is longer", () => {
    const many = Array.from({ length: 20_000 }, (_, id) => ({ id, text: `"${id}"` }));
    assert.deepEqual(namesAlike(pageOf(...many), ["id"]), ["id", "text"]);
    assert.equal(namesAlike(pageOf(...many, { id: 1 }), ["id"]), undefined);
    assert.equal(namesAlike(pageOf(...many, { id: 1, text: "x".repeat(70_000) }), []), undefined);
  });

  it("is not seen where names, their order or number, a key or an end differ", () => {
    const id = '{"id":1,"b":2}';
    for (const [lines, key] of [
      [[id, '{"b":2,"id":1}'], []],
      [[id, '{"id":1}'], []],
      [[id, '{"id":1,"b":2,"c":3}'], []],
      [[id, '{"id":1,"id":1,"b":2}'], []],
      [['{"id":1,"b":2,"id":3}'], []],
      [[id, '{"id":null,"b":2}'], ["id"]],
      [['{"id":null,"b":2}'], ["id"]],
      [[id], ["part"]],
      [[id, '{"id":1,"B":2}'], []],
      [['{"a.b":1}', '{"a_b":1}'], []],
      [[id, ""], []],
      [["", id], []],
      [["{}"], []],
      [["[1]"], []],
      [["null"], []],
      [['{"id":1'], []],
      [['{"id":1}}'], []],
    ] as const)
      assert.equal(namesAlike(page(...lines), key), undefined, lines.join(" "));
    assert.equal(namesAlike(Buffer.from(id), []), undefined);
  });

  it("gives up at once on what it does not match", () => {
    const deep = `{"id":1,"list":["${String.raw`x\\`.repeat(9000)}",${"12345,".repeat(3000)}1]}`;
    assert.deepEqual(namesAlike(page(deep, deep), ["id"]), ["id", "list"]);
    assert.equal(namesAlike(page(deep, `${deep} `), ["id"]), undefined);
  });

  it("is never seen where reading the records would find another", () => {
    const write = (of: readonly (readonly [string, unknown])[]) =>
      `{${of.map((pair) => pair.map((one) => JSON.stringify(one)).join(":")).join(",")}}`;
    let seen = 0;
    fc.assert(
      fc.property(members, members, fc.boolean(), (first, second, isAlike) => {
        const alike = first.map(([name], at) => [name, second[at]?.[1] ?? null] as const);
        const lines = [first, isAlike ? alike : second].map(write);
        const key = [first[0]![0]];
        const names = namesAlike(page(...lines), key);
        if (!names) return;
        seen += 1;
        for (const line of lines) {
          const read = namesAndNulls(line);
          assert.deepEqual(read.names, names);
          assert(!read.nulls.includes(key[0]!));
        }
      }),
      { numRuns: 300, seed: 7 },
    );
    assert(seen > 40, `${seen} of 300 pages were seen`);
  });
});

import assert from "node:assert/strict";
import * as fc from "fast-check";
import { PipelineError } from "../../src/errors.ts";
import { MemberScanner, type MemberText } from "../../src/readback/member-scanner.ts";

/** What each record of `text` says, read in pieces of `bytes`. */
function scanAll(text: string, member: string, bytes = Number.POSITIVE_INFINITY): MemberText[] {
  const scanner = new MemberScanner(member);
  const all = Buffer.from(text);
  const found: MemberText[] = [];
  for (let at = 0; at < all.length; at += bytes)
    scanner.scan(all.subarray(at, at + bytes), (_end, value) => found.push(value));
  scanner.finish();
  return found;
}

const name = fc.oneof(
  fc.constantFrom("type", "TYPE", "", "ty\u0070e", 'a"\\', "größe"),
  fc.string(),
);
const record = fc.dictionary(name, fc.jsonValue({ maxDepth: 3 }), { noNullPrototype: true });

describe("the scanner for a member", () => {
  it("reads what JSON.parse reads, wherever the bytes are cut", () => {
    fc.assert(
      fc.property(
        fc.array(record),
        name,
        fc.integer({ min: 1, max: 9 }),
        (records, member, bytes) => {
          const text = records.map((it) => `${JSON.stringify(it)}\n`).join("");
          const expected = records.map((it) => {
            const value = Object.hasOwn(it, member) ? it[member] : null;
            if (typeof value === "object") return value === null ? null : "";
            return typeof value === "string" ? value : JSON.stringify(value);
          });
          assert.deepEqual(scanAll(text, member, bytes), expected);
          assert.deepEqual(scanAll(text, member), expected);
        },
      ),
      { numRuns: 300 },
    );
  });

  it("knows a name and a value with escapes, and white space around them", () => {
    const text = '{ "a":1 ,"t\\u0079pe"\t: "P\\u0061tient" , "b":[{"type":"no"}] }\r\n';
    for (const bytes of [1, 2, 3, 1000])
      assert.deepEqual(scanAll(text, "type", bytes), ["Patient"]);
    assert.deepEqual(scanAll('{"größe":"L"}\n', "größe", 1), ["L"]);
  });

  it("passes by the same name deeper down, in strings and as a value", () => {
    const text =
      '{"contained":[{"type":"In"}],"text":"\\"type\\":\\"x\\\\","type":"Out","z":"type"}\n';
    for (const bytes of [1, 1000]) assert.deepEqual(scanAll(text, "type", bytes), ["Out"]);
    assert.deepEqual(scanAll('{"x":{"type":"In"}}\n{}\n{"type":null}\n', "type"), [
      null,
      null,
      null,
    ]);
  });

  it("gives numbers as they are written", () => {
    assert.deepEqual(scanAll('{"n":1.00}\n{"n":-0}\n{"n":true}\n', "n"), ["1.00", "-0", "true"]);
  });

  it("gives an empty text for a value that is nested or endless", () => {
    const endless = `{"type":"${"x".repeat(100_000)}"}\n`;
    assert.deepEqual(scanAll(`{"type":["Patient"]}\n${endless}`, "type", 1000), ["", ""]);
    assert.deepEqual(scanAll(endless.replace("type", "x".repeat(9000)), "type", 1000), [null]);
  });

  it("takes no part of a long text for all of it, whatever spaces lie in it or around it", () => {
    const [spaces, letters] = [" ".repeat(9000), "x".repeat(4000)];
    const long = `${letters}${spaces}${letters}`;
    for (const bytes of [100, 100_000]) {
      assert.deepEqual(scanAll(`{"type":"${long}"}\n`, "type", bytes), [""]);
      assert.deepEqual(scanAll(`{"\\n${long}":1,"type":"A"}\n`, "type", bytes), ["A"]);
      assert.deepEqual(scanAll(`{"type"${spaces}:"A"${spaces}}\n`, "type", bytes), ["A"]);
      assert.deepEqual(scanAll(`{"type":${spaces}"A"}\n`, "type", bytes), [""]);
    }
  });

  it("passes strings that are full of escapes in one go", () => {
    const text = `{"text":"${`${"x".repeat(70)}\\n`.repeat(200_000)}","type":"A"}\n`;
    assert.deepEqual(scanAll(text, "type"), ["A"]);
  }).timeout(5000);

  it("knows a value as soon as it has come", () => {
    const scanner = new MemberScanner("type");
    const never = () => assert.fail("no record has ended");
    scanner.scan(Buffer.from('{"id":"1","type":"Pati'), never);
    assert.equal(scanner.found, undefined);
    scanner.scan(Buffer.from('ent","text":"'), never);
    assert.equal(scanner.found, "Patient");
  });

  it("refuses a record that has the member twice, however it is written", () => {
    assert.throws(
      () => scanAll('{}\n{"type":"A","t\\u0079pe":"A"}\n', "type"),
      (error) =>
        error instanceof PipelineError && /record 2 has type twice, and/.test(error.message),
    );
  });

  const broken = [
    "5\n",
    "\n",
    "[]\n",
    '"type"\n',
    '{"type":"A"}',
    '{"type":"A"\n',
    '{"type":"A"}{}\n',
    '{"type":"A\n"}\n',
    '{"type":"\\x"}\n',
    '{"type":1 2}\n',
    '{"type":}\n',
    '{"type" "A"}\n',
    '{type:"A"}\n',
    '{"a":1]}\n',
    '{"a":"1"}\n ',
  ];
  for (const text of broken) {
    it(`refuses ${JSON.stringify(text)}, whose bytes are the exporter's`, () => {
      for (const bytes of [1, 1000])
        assert.throws(
          () => scanAll(text, "type", bytes),
          (error) => error instanceof PipelineError && error.code === "integrity-failed",
        );
    });
  }
});

import assert from "node:assert/strict";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setFlagsFromString } from "node:v8";
import { runInNewContext } from "node:vm";
import { json, readJson } from "../../../src/stages/sources/json.ts";
import { checkStageContract, collect } from "../../contract/stage-contract.ts";
import { inPieces, measurePeakRss, refuses, rowsOf } from "../../fixtures/sources.ts";

const parse = async (content: string | Uint8Array, pick?: string, pieces = 1, maxRecord = 1000) =>
  rowsOf(await collect(readJson(inPieces(content, pieces), "in.json", { pick, maxRecord })));

async function* endless(start: string, fill: string) {
  yield Buffer.from(start);
  for (;;) yield Buffer.from(fill.repeat(60_000));
}

function heapAfterCollection(): number {
  setFlagsFromString("--expose-gc");
  (runInNewContext("gc") as () => void)();
  return process.memoryUsage().heapUsed;
}

describe("json", () => {
  let folder: string;
  const file = (name: string) => join(folder, name);

  before(async () => {
    folder = await mkdtemp(join(tmpdir(), "spillway-json-"));
    const items = Array.from({ length: 10_000 }, (_, id) => ({ id, text: "é€" }));
    await writeFile(file("many.json"), JSON.stringify({ data: { items } }));
    await writeFile(file("empty.json"), '{"data":{"items":[]}}');
  });
  after(() => rm(folder, { recursive: true }));

  checkStageContract({
    stage: json,
    config: () => ({ path: file("many.json"), pick: "data.items" }),
    required: ["path"],
    wrong: { path: [], pick: 1, maxRecord: 0 },
    empty: {
      config: () => ({ path: file("empty.json"), pick: "data.items" }),
      check: ([only], error) => {
        assert.equal(error, undefined);
        assert.deepEqual(only?.rows, []);
        assert.equal(only?.end?.rows, 0);
      },
    },
  });

  it("reads the same however the bytes are split, as JSON.parse would", async () => {
    const content =
      '\ufeff [ {"a":"é€😀","b":[1,{"c":null,"d":[[],{}]}],"e\\n":"\\u0041\\"\\/","":true} ,\r\n' +
      ' {}, {"a":-1.5e3,"long":"' +
      `${"x".repeat(600)}"} ]\n`;
    const whole = JSON.parse(content.slice(1)) as unknown;
    for (const pieces of [1, 2, 3, 7, 97, Buffer.byteLength(content)]) {
      const rows = await parse(content, undefined, pieces);
      // Numbers whose text JavaScript would change are kept as text; printed, they are JSON again.
      assert.deepEqual(JSON.parse(JSON.stringify(rows)), whole);
    }
  });

  it("takes the last of members that repeat in one object, as its summary says", async () => {
    const [row] = await parse('[{"a":1,"b":{"c":1,"c":2},"\\u0061":1.10}]');
    assert.equal(JSON.stringify(row), '{"a":1.10,"b":{"c":2}}');
    assert.match(json.summary, /of members that repeat in one object the last counts/);
  });

  it("keeps every digit of every number", async () => {
    const row =
      '{"a":9007199254740993,"b":-0,"c":1e400,"d":1.10,"e":[0.1000000000000000055,1.5],"f":12}';
    const [parsed] = await parse(`[${row}]`);
    assert.equal(JSON.stringify(parsed), row);
    assert.equal(parsed?.["f"], 12);
  });

  it("keeps __proto__ as plain data and lets the last of two equal keys win", async () => {
    const [row] = await parse('[{"__proto__":{"evil":1},"b":{"__proto__":[2]},"a":1,"a":2}]');
    assert.equal(JSON.stringify(row), '{"__proto__":{"evil":1},"b":{"__proto__":[2]},"a":2}');
    assert.equal(Object.getPrototypeOf(row), Object.prototype);
    assert.equal(row?.["evil"], undefined);
  });

  it("picks the array at a path and nothing that only looks like it", async () => {
    const document =
      '{"items":[{"x":0}],"data":{"n":[{"items":[{"x":1}]}],"items":[{"x":2,"items":[{}]}],"z":1},"q":[[{}]]}';
    assert.deepEqual(await parse(document, "data.items", 5), [{ x: 2, items: [{}] }]);
    assert.deepEqual(await parse(document, "items"), [{ x: 0 }]);
    assert.deepEqual(await parse('{"":{"":[{"x":1}]}}', "."), [{ x: 1 }]);
  });

  it("refuses a path that leads to no array, or to two", async () => {
    await refuses(parse('{"a":{"c":[{}]}}', "a.b"), /no array at a\.b/);
    await refuses(parse('{"a":1}', "a"), /a single value; expected an array/);
    await refuses(parse('{"a":{"secret":1}}', "a"), /an object; expected an array/);
    for (const second of ['"a":[{}]', '"a":null', '"\\u0061":{"b":1}'])
      await refuses(parse(`{"a":[{}],${second}}`, "a"), /a second "a" on the way to the array/);
    for (const second of ['"a":null', '"a":{"c":1}'])
      await refuses(parse(`{"a":{"b":[{}]},${second}}`, "a.b"), /a second "a" on the way/);
    const elsewhere = '{"c":{"a":{"b":1}},"a":{"b":[{}],"a":{"b":1}},"d":[{"a":{"b":1}}]}';
    assert.deepEqual(await parse(elsewhere, "a.b"), [{}]);
    await refuses(parse('{"a":[{}]}'), /an object; expected an array/);
    await refuses(parse('"secret"'), /a single value/);
  });

  it("refuses what is no whole document, with the element and the bytes", async () => {
    await refuses(parse('[{"a":1},{"secret":'), /^in\.json, element 2, .*ends too early/);
    await refuses(parse('[{"a":1}'), /ends too early/);
    await refuses(parse(""), /ends too early/);
    await refuses(parse("[{}] [{}]"), /broken JSON, or more after its end/);
    await refuses(parse("[{}]secret"), /bytes 0 to 10: broken JSON/);
    await refuses(parse('[{"a":1},]'), /broken JSON/);
    await refuses(parse('[{"a":01}]'), /broken JSON/);
    await refuses(parse('[{"a":nul}]'), /broken JSON/);
    await refuses(parse("[{},1]"), /element 2, .*not an object/);
    await refuses(parse("[[]]"), /element 1, .*not an object/);
    await refuses(parse(Buffer.from('[{"a":"\xff"}]', "latin1")), /not valid UTF-8/);
    await refuses(parse(Buffer.from("[{}]é").subarray(0, 5)), /not valid UTF-8/);
  });

  it("refuses an element larger than maxRecord wherever the bytes are split", async () => {
    const row = JSON.stringify({ a: ["x".repeat(50), 12345] });
    for (const pieces of [1, 3, 50]) {
      assert.equal((await parse(`[{},${row}]`, undefined, pieces, row.length)).length, 2);
      await refuses(parse(`[{},${row}]`, undefined, pieces, 50), /element 2, .*maxRecord \(50/);
    }
  });

  it("refuses a text and nesting that never end before they fill the memory", async () => {
    const cases = [
      ['[{"a":"', "x"],
      ['[{"a":', "1"],
      ['[{"', "k"],
      ['[{"a":', "["],
      ['{"b":', "["],
    ] as const;
    for (const [start, fill] of cases) {
      const pick = start.startsWith("{") ? "a" : undefined;
      const rows = readJson(endless(start, fill), "in.json", { pick, maxRecord: 2 ** 20 });
      await refuses(collect(rows), /maxRecord|nested deeper/);
    }
  });

  it("holds texts of nothing but escapes as small as others", async () => {
    const [long, short] = ["\\n".repeat(2 ** 19), "\\n".repeat(1000)];
    for (const body of [
      `"${long}"`,
      `[${Array.from({ length: 500 }, () => `"${short}"`).join()}]`,
    ]) {
      const document = `[{"a":${body}}]`;
      const before = heapAfterCollection();
      const batches = readJson(inPieces(document, 64), "in.json", { maxRecord: 2 ** 20 });
      const { value } = await batches.next();
      assert.ok(value);
      const taken = heapAfterCollection() - before;
      assert.ok(taken < 4 * 2 ** 20, `${taken} bytes for a text of ${document.length}`);
      assert.deepEqual(value.rows, JSON.parse(document));
    }
  });

  const slow = process.env["SPILLWAY_SLOW"] === "1" ? it : it.skip;
  slow("streams 1 GB through flat memory", async function () {
    this.timeout(300_000);
    const small = await measurePeakRss("json", 20e6);
    const large = await measurePeakRss("json", 1e9);
    assert.ok(large - small < 24 * 2 ** 20, `${small} bytes for 20 MB, ${large} for 1 GB`);
  });
});

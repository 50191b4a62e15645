import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { ndjson, readNdjson } from "../../../src/stages/sources/ndjson.ts";
import { checkStageContract, collect, testContext } from "../../contract/stage-contract.ts";
import { inPieces, nothing, refuses, rowsOf } from "../../fixtures/sources.ts";

const read = (path: string) =>
  collect(ndjson.open({ path, maxRecord: 1000 }, testContext(), nothing()));
const parse = async (content: string | Uint8Array, pieces = 1, maxRecord = 1000) =>
  rowsOf(await collect(readNdjson(inPieces(content, pieces), "in.ndjson", maxRecord)));

async function* endless() {
  for (;;) yield Buffer.alloc(64 * 1024, "x");
}

describe("ndjson", () => {
  let folder: string;
  const file = (name: string) => join(folder, name);

  before(async () => {
    folder = await mkdtemp(join(tmpdir(), "spillway-ndjson-"));
    const lines = Array.from({ length: 20_000 }, (_, id) => JSON.stringify({ id, text: "é€" }));
    await writeFile(file("many.ndjson"), `${lines.join("\n")}\n`);
    await writeFile(file("empty.ndjson"), "");
  });
  after(() => rm(folder, { recursive: true }));

  checkStageContract({
    stage: ndjson,
    config: () => ({ path: file("many.ndjson") }),
    required: ["path"],
    wrong: { path: 7, maxRecord: "200MiB" },
    empty: {
      config: () => ({ path: file("empty.ndjson") }),
      check: ([only], error) => {
        assert.equal(error, undefined);
        assert.deepEqual(only?.rows, []);
        assert.equal(only?.end?.rows, 0);
      },
    },
  });

  it("gives every line as a row in batches of about 256 KiB and ends with the proof", async () => {
    const batches = await read(file("many.ndjson"));
    assert.ok(batches.length > 4);
    assert.deepEqual(
      rowsOf(batches).map((row) => row["id"]),
      Array.from({ length: 20_000 }, (_, id) => id),
    );
    const end = batches.at(-1)?.end;
    assert.equal(end?.rows, 20_000);
    assert.equal(end?.consistency.class, "unchanged-file");
    assert.match(String(end?.consistency.proof["sha256"]), /^[0-9a-f]{64}$/);
    assert.equal(
      end?.queryDigest,
      createHash("sha256")
        .update(JSON.stringify(["ndjson", file("many.ndjson")]))
        .digest("hex"),
    );
  });

  it("reads the same however the bytes are split, a byte at a time included", async () => {
    const content = Buffer.from(
      '\ufeff{"a":"é€😀"}\r\n\n  \t\n{"a":[1,{"b":null}]}\n{"a":"\\ud83d"}',
    );
    const whole = await parse(content);
    assert.deepEqual(whole, [{ a: "é€😀" }, { a: [1, { b: null }] }, { a: "\ud83d" }]);
    for (const pieces of [2, 3, 7, content.length]) {
      assert.deepEqual(await parse(content, pieces), whole);
    }
  });

  it("keeps every digit of every number", async () => {
    const row =
      '{"a":9007199254740993,"b":-0,"c":1e400,"d":1.10,"e":[0.1000000000000000055,1.5],"f":12,' +
      '"t":"12:00:05.123456","u":1E+2,"v":-12345678901234567890,"w":9007199254740992,"x": 0.0 }';
    const [parsed] = await parse(`${row}\n`);
    assert.equal(JSON.stringify(parsed), row.replace(": 0.0 ", ":0.0"));
    assert.equal(parsed?.["w"], 9007199254740992);
    assert.deepEqual(JSON.parse(JSON.stringify(parsed?.["e"])), [0.1, 1.5]);
  });

  it("keeps __proto__ as plain data and lets the last of two equal keys win", async () => {
    const [row] = await parse('{"__proto__":{"evil":1.10},"a":1,"a":2}');
    assert.equal(JSON.stringify(row), '{"__proto__":{"evil":1.10},"a":2}');
    assert.equal(Object.getPrototypeOf(row), Object.prototype);
    assert.equal(({} as Record<string, unknown>)["evil"], undefined);
  });

  it("refuses broken lines with their place and without their content", async () => {
    const good = '{"a":1}\n';
    await refuses(parse(`${good}\n{"secret":`), /^in\.ndjson:3: line is broken or cut off/);
    const deep = `{"a":1.50,"secret":${"[".repeat(50_000)}${"]".repeat(50_000)}}`;
    await refuses(
      parse(`${good}\n${deep}`, 1, 2 ** 20),
      /^in\.ndjson:3: line is nested too deep to be read/,
    );
    await refuses(parse(`${good}{"a":1}{"b":2}\n`), /^in\.ndjson:2: /);
    await refuses(parse(`${good}[1]\n`), /^in\.ndjson:2: line is not a JSON object/);
    await refuses(parse(`${good}null\n`), /^in\.ndjson:2: line is not a JSON object/);
    await refuses(parse(Buffer.from(`${good}{"a":"\xff"}\n`, "latin1")), /:2: .*UTF-8/);
    await refuses(parse(Buffer.from(`${good}{"a":"é"}`).subarray(0, 15)), /:2: .*UTF-8/);
  });

  it("takes the last of members that repeat in one object, whatever is in them, as its summary says", async () => {
    const [row] = await parse('{"a":1,"b":{"c":1,"c":2},"\\u0061":1.10,"d":[{"e":1,"e":null}]}\n');
    assert.equal(JSON.stringify(row), '{"a":1.10,"b":{"c":2},"d":[{"e":null}]}');
    assert.match(ndjson.summary, /of members that repeat in one object the last counts/);
  });

  it("refuses a line longer than maxRecord wherever the bytes are split, and not one as long", async () => {
    const line = JSON.stringify({ a: "é".repeat(20) });
    const length = Buffer.byteLength(line);
    for (const pieces of [1, 2, 9]) {
      assert.equal((await parse(`{}\n${line}\n`, pieces, length)).length, 2);
      await refuses(
        parse(`{}\n${line}\n`, pieces, length - 1),
        /:2: line is longer than maxRecord/,
      );
    }
  });

  it("refuses a line that never ends before it fills the memory", async () => {
    await refuses(collect(readNdjson(endless(), "in.ndjson", 2 ** 20)), /:1: .*maxRecord/);
  });

  it("gives the pieces of a wide line back before others work on its row", async () => {
    const pieces = [Buffer.from('{"a":"'), Buffer.alloc(64 * 1024, "x"), Buffer.from('"}\n')];
    const wide = pieces[1]!.buffer;
    const [batch] = await collect(readNdjson(each(pieces), "in.ndjson", 2 ** 20));
    assert.deepEqual(batch?.rows, [{ a: "x".repeat(64 * 1024) }]);
    assert.equal(wide.byteLength, 0);
  });
});

async function* each(pieces: readonly Uint8Array[]) {
  yield* pieces;
}

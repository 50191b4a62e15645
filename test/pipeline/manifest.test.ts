import assert from "node:assert/strict";
import { writeSums, type ManifestHead, type PageEntry } from "../../src/pipeline/manifest.ts";
import { pageName } from "../../src/stages/pages/checkpoint.ts";
import { whilePlausible } from "../../src/pipeline/manifest-text.ts";
import { gather } from "../../src/stages/durable-file.ts";
import { readManifest } from "../../src/pipeline/read-manifest.ts";
import { copyDialect } from "../../src/stages/formats/csv-dialect.ts";
import { PipelineError, type ErrorCode } from "../../src/errors.ts";
import { manifestBytes, readWhole, sampleEntries, sampleHead } from "../fixtures/manifest.ts";

const failsWith = (code: ErrorCode) => (error: unknown) =>
  error instanceof PipelineError && error.code === code;

const csv = { extension: "csv", compress: "zstd", encrypt: "age" } as const;

/** Reads a manifest from pieces of any length. */
const readIn = (bytes: Uint8Array, pieceBytes: number) =>
  readManifest(function* () {
    const piece = new Uint8Array(pieceBytes);
    for (let at = 0; at < bytes.length; at += pieceBytes) {
      piece.set(bytes.subarray(at, at + pieceBytes));
      yield piece.subarray(0, bytes.length - at);
    }
  });

describe("manifest", () => {
  it("gives back what was written", async () => {
    const { head, tail, entries } = await readWhole(await manifestBytes());
    assert.deepEqual(head, sampleHead);
    assert.deepEqual(entries, sampleEntries(3));
    assert.deepEqual(tail.totals, { pages: 3, records: 30, bytes: 303, plainBytes: 3000 });
    assert.deepEqual(tail.rejected, { "too-long": 2 });
  });

  it("may name facts as JavaScript names what every object has", async () => {
    const proof = { constructor: 1, prototype: -1, toString: null };
    const head = { ...sampleHead, consistency: { class: "stream", proof } } as const;
    assert.deepEqual((await readWhole(await manifestBytes(head))).head, head);
  });

  it("is JSON that any tool reads", async () => {
    const { format, pages } = JSON.parse((await manifestBytes()).toString());
    assert.equal(format, "spillway/1");
    assert.deepEqual(pages, sampleEntries(3));
  });

  it("may be walked twice, and page by page without reading the rest", async () => {
    const bytes = await manifestBytes(sampleHead, sampleEntries(50_000));
    const manifest = await readManifest(() => [bytes]);
    const walk = manifest.pages();
    assert.equal((await walk.next()).value?.name, "00000000.ndjson.zst.age");
    let pages = 0;
    for await (const entry of manifest.pages())
      pages += entry.name === pageName(pages, "ndjson.zst.age") ? 1 : 0;
    assert.equal(pages, 50_000);
  });

  it("is read alike from pieces of any length, whose memory is used again", async () => {
    const head = { ...sampleHead, pipeline: "in-pieces" };
    const bytes = await manifestBytes(head, sampleEntries(20));
    for (const pieceBytes of [1, 2, 7, 11, 64, 1000, bytes.length, bytes.length + 1]) {
      const manifest = await readIn(bytes, pieceBytes);
      assert.deepEqual(manifest.head, head);
      assert.equal(manifest.tail.totals.pages, 20);
      assert.deepEqual(await Array.fromAsync(manifest.pages()), sampleEntries(20));
    }
  });

  it("is read alike wherever its pages begin in the blocks it is read in", async () => {
    const withName = (letters: number) => {
      const columns = [{ name: "n".repeat(letters), type: "text" }];
      return manifestBytes({ ...sampleHead, schema: { columns } });
    };
    const mark = (await withName(0)).indexOf('\n"pages":[\n');
    for (let within = -1; within <= 12; within += 1) {
      const { entries } = await readWhole(await withName(16_384 - mark - within));
      assert.equal(entries.length, 3);
    }
  });

  it("is refused where its lines, its head or its end never end, however it comes", async () => {
    const text = (await manifestBytes()).toString();
    const long = "a".repeat(5000);
    const cases = [
      text.replace('"records":10', `"records":${"1".repeat(5000)}`),
      text.replace('"rejected":{', `"rejected":{"${long.repeat(20)}":1,`),
      `{"format":"spillway/1",\n${long.repeat(4000)}`,
    ];
    for (const spelled of cases) {
      for (const pieceBytes of [1000, 2 ** 26]) {
        const reading = readIn(Buffer.from(spelled), pieceBytes).then(({ pages }) =>
          Array.fromAsync(pages()),
        );
        await assert.rejects(reading, failsWith("integrity-failed"));
      }
    }
  });

  it("is refused when it is shorter at the second reading", async () => {
    const bytes = await manifestBytes();
    let left = bytes.length;
    const { pages } = await readManifest(() => [bytes.subarray(0, left)]);
    left = bytes.indexOf("00000002");
    await assert.rejects(Array.fromAsync(pages()), /another than before/);
  });

  it("is refused at every truncation", async () => {
    const bytes = await manifestBytes();
    for (let length = 0; length < bytes.length; length += 1) {
      await assert.rejects(readWhole(bytes.subarray(0, length)), PipelineError, `${length} bytes`);
    }
  });

  it("is refused in any other spelling of the same JSON", async () => {
    const text = (await manifestBytes()).toString();
    const spellings = [
      JSON.stringify(JSON.parse(text)),
      JSON.stringify(JSON.parse(text), null, 2),
      text.replace('"generation":1', '"generation":1.0'),
      text.replace('"generation":1', '"generation": 1'),
      text.replace('"records":10', '"records":1e1'),
      text.replace('"records":10', '"records":10,"records":10'),
      text.replace('"run"', '"r\\u0075n"'),
      text.replace(",\n", ",\r\n"),
      text.replace("\n]", ",\n]"),
      text.replace('"rejected":', '"extra":1,\n"rejected":'),
      text.replace('"started"', '"__proto__":{"polluted":true},\n"started"'),
      text.replace('"proof":{', '"proof":{"__proto__":{"polluted":true},'),
      text + "\n",
      `\ufeff${text}`,
    ];
    for (const spelling of spellings) {
      assert.notEqual(spelling, text);
      await assert.rejects(
        readWhole(Buffer.from(spelling)),
        failsWith("integrity-failed"),
        spelling,
      );
    }
    assert.equal(({} as Record<string, unknown>)["polluted"], undefined);
  });

  it("is refused with bytes that are no UTF-8, in a name or beyond it", async () => {
    const bytes = await manifestBytes();
    for (const text of ['"version":"', '"name":"odd', '"lsn":"']) {
      const changed = Buffer.from(bytes);
      changed[bytes.indexOf(text) + text.length] = 0xb8;
      await assert.rejects(readWhole(changed), failsWith("integrity-failed"));
    }
  });

  it("says which CSV it is, in one spelling, where that is not COPY's own", async () => {
    const dialect = { ...copyDialect, delimiter: "\t", null: "\\N", header: false };
    const head: ManifestHead = { ...sampleHead, layers: { ...csv, dialect } };
    const bytes = await manifestBytes(head, sampleEntries(3, head));
    assert.deepEqual((await readWhole(bytes)).head.layers.dialect, dialect);
    const text = bytes.toString();
    const line =
      '"encrypt":"age","dialect":{"delimiter":"\\t","quote":"\\"","header":false,"null":"\\\\N","lineEnd":"lf","quoteAll":false,"bom":false}},\n';
    assert.ok(text.includes(line));
    const other = text.replace(
      '"delimiter":"\\t","quote":"\\""',
      '"quote":"\\"","delimiter":"\\t"',
    );
    await assert.rejects(readWhole(Buffer.from(other)), failsWith("integrity-failed"));
  });

  it("is refused with a field that format 1 does not allow", async () => {
    const bad: Partial<Record<keyof ManifestHead, unknown>>[] = [
      { run: "../../etc" },
      { run: "" },
      { run: ".hidden" },
      { pipeline: "a/b" },
      { pipeline: ".." },
      { generation: 0 },
      { generation: 2 ** 53 },
      { previous: "abc" },
      { started: "yesterday" },
      { configDigest: "C".repeat(64) },
      { consistency: { class: "hope", proof: {} } },
      { consistency: { class: "stream", proof: { nested: {} } } },
      { consistency: { class: "stream", proof: { half: 0.5 } } },
      { consistency: { class: "stream", proof: [] } },
      { consistency: { class: "stream", proof: { 7: "seven" } } },
      { layers: { extension: "../x", compress: "zstd", encrypt: "age" } },
      { layers: { extension: "ndjson", compress: "brotli", encrypt: "age" } },
      { layers: { extension: "ndjson", compress: "zstd", encrypt: "rot13" } },
      { layers: { ...csv, extension: "ndjson", dialect: { ...copyDialect, delimiter: ";" } } },
      { layers: { ...csv, dialect: copyDialect } },
      { layers: { ...csv, dialect: { ...copyDialect, delimiter: '"' } } },
      { layers: { ...csv, dialect: { ...copyDialect, quote: "é" } } },
      { layers: { ...csv, dialect: { ...copyDialect, null: "a\n" } } },
      { layers: { ...csv, dialect: { ...copyDialect, lineEnd: "cr" } } },
      { signer: "rsa:abc" },
    ];
    for (const change of bad) {
      const head: ManifestHead = Object.assign({}, sampleHead, change);
      const bytes = await manifestBytes(head, sampleEntries(3, head));
      await assert.rejects(readWhole(bytes), failsWith("integrity-failed"), JSON.stringify(change));
    }
  });

  it("is refused with a page name other than the one its number has", async () => {
    const names = [
      "../../../etc/passwd",
      "/etc/passwd",
      "00000000.ndjson.zst.age/../x",
      "00000001.ndjson.zst.age",
      "0.ndjson.zst.age",
      "00000000.ndjson.zst",
      "00000000.NDJSON.zst.age",
      "manifest.json",
      "",
    ];
    for (const name of names) {
      const [entry] = sampleEntries(1);
      const bytes = await manifestBytes(sampleHead, [{ ...entry!, name }]);
      await assert.rejects(readWhole(bytes), failsWith("integrity-failed"), name);
    }
  });

  it("is refused with a page that is no object, and told where", async () => {
    const text = (await manifestBytes()).toString();
    for (const line of ["1", "null", '"page"']) {
      const changed = text.replace(/^\{"name":"00000001.*(?=,$)/m, line);
      assert.notEqual(changed, text);
      await assert.rejects(readWhole(Buffer.from(changed)), {
        code: "integrity-failed",
        message: /^manifest: pages is not what format 1 allows/,
      });
    }
  });

  it("names pages by what they are made with", async () => {
    const extension = "ndjson";
    for (const [compress, encrypt, name] of [
      ["zstd", "age", "00000000.ndjson.zst.age"],
      ["gzip", "none", "00000000.ndjson.gz"],
      ["none", "age", "00000000.ndjson.age"],
      ["none", "none", "00000000.ndjson"],
    ] as const) {
      const head = { ...sampleHead, layers: { extension, compress, encrypt } };
      const [entry] = sampleEntries(1);
      const one = await readWhole(await manifestBytes(head, [{ ...entry!, name }]));
      assert.equal(one.entries[0]?.name, name);
      const longer = { ...entry!, name: `${name}.age` };
      const other = await manifestBytes(head, [longer]);
      await assert.rejects(readWhole(other), failsWith("integrity-failed"));
    }
  });

  it("is refused when totals are not those of the pages, or there are no pages", async () => {
    const text = (await manifestBytes()).toString();
    for (const [from, to] of [
      ['"pages":3', '"pages":2'],
      ['"records":30', '"records":31'],
      ['"bytes":303', '"bytes":304'],
    ] as const) {
      await assert.rejects(readWhole(Buffer.from(text.replace(from, to))), /totals are not those/);
    }
    await assert.rejects(readWhole(Buffer.from(text.replace('"pages":3', '"pages":0'))));
  });

  it("is refused when fragments of a record are not in the order first, middle, last", async () => {
    const spans: PageEntry["span"][][] = [
      ["middle"],
      ["last"],
      ["first"],
      ["first", "first", "last"],
      ["first", undefined],
    ];
    for (const order of spans) {
      const entries = sampleEntries(3).map(({ span: _span, ...entry }, page) => {
        const span = order[page];
        const records = span === "first" || span === "middle" ? 0 : 1;
        return span ? { ...entry, records, span } : entry;
      });
      const bytes = await manifestBytes(sampleHead, entries.slice(0, order.length));
      await assert.rejects(readWhole(bytes), failsWith("integrity-failed"), order.join());
    }
  });

  it("of a later format is refused by its number", async () => {
    const text = (await manifestBytes()).toString().replace("spillway/1", "spillway/2");
    await assert.rejects(
      readWhole(Buffer.from(text)),
      (error: unknown) => failsWith("config-invalid")(error) && /spillway\/2/.test(String(error)),
    );
  });

  it("has SHA256SUMS beside it, one line a page", async () => {
    let sums = "";
    for await (const part of writeSums(sampleEntries(2))) sums += Buffer.from(part).toString();
    assert.equal(
      sums,
      `${"a".repeat(64)}  00000000.ndjson.zst.age\n${"b".repeat(64)}  00000001.ndjson.zst.age\n`,
    );
  });

  it("is kept while it may be one, and no longer", async () => {
    const bytes = await manifestBytes();
    assert.deepEqual(await gather(whilePlausible([bytes])), bytes);
    const endless = function* () {
      yield bytes;
      for (let i = 0; i < 80; i += 1) yield Buffer.alloc(2 ** 16, "x");
    };
    await assert.rejects(gather(whilePlausible(endless())), failsWith("integrity-failed"));
    const other = Buffer.from(bytes.toString().replace("spillway/1", "spillway/9"));
    await assert.rejects(gather(whilePlausible([other])), failsWith("config-invalid"));
  });

  it("has pages of a few KiB each, whatever another one pretends", async () => {
    const lines = (await manifestBytes()).toString().split("\n");
    const first = lines.findIndex((line) => line.includes("00000000."));
    lines[first] = lines[first]!.padEnd(2 ** 18);
    const { pages } = await readManifest(() => [Buffer.from(lines.join("\n"))]);
    await assert.rejects(Array.fromAsync(pages()), failsWith("integrity-failed"));
  });
});

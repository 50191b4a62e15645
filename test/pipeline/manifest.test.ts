import assert from "node:assert/strict";
import { createPublicKey, generateKeyPairSync } from "node:crypto";
import { chmod, mkdtemp, readdir, readFile, rm, stat, symlink, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import {
  parseSigner,
  publicText,
  signManifest,
  verifyManifestSignature,
} from "../../src/pipeline/manifest-signature.ts";
import { writeSums, type ManifestHead, type PageEntry } from "../../src/pipeline/manifest.ts";
import { pageName } from "../../src/stages/pages/checkpoint.ts";
import { readManifest } from "../../src/pipeline/read-manifest.ts";
import { loadSigningKey } from "../../src/pipeline/signing-key.ts";
import { copyDialect } from "../../src/stages/formats/csv-dialect.ts";
import { PipelineError, type ErrorCode } from "../../src/errors.ts";
import { manifestBytes, sampleEntries, sampleHead } from "../fixtures/manifest.ts";
import { needTools, runTool } from "../fixtures/stock-tools.ts";

const failsWith = (code: ErrorCode) => (error: unknown) =>
  error instanceof PipelineError && error.code === code;

const csv = { extension: "csv", compress: "zstd", encrypt: "age" } as const;

/** Reads all of a manifest, as every user of it must to trust it. */
const readAll = (bytes: Uint8Array) => [...readManifest(bytes).pages()];

describe("manifest", () => {
  it("gives back what was written", async () => {
    const manifest = readManifest(await manifestBytes());
    const { head, tail } = manifest;
    assert.deepEqual(head, sampleHead);
    assert.deepEqual([...manifest.pages()], sampleEntries(3));
    assert.deepEqual(tail.totals, { pages: 3, records: 30, bytes: 303, plainBytes: 3000 });
    assert.deepEqual(tail.rejected, { "too-long": 2 });
  });

  it("is JSON that any tool reads", async () => {
    const { format, pages } = JSON.parse((await manifestBytes()).toString());
    assert.equal(format, "spillway/1");
    assert.deepEqual(pages, sampleEntries(3));
  });

  it("may be walked twice, and page by page without reading the rest", async () => {
    const manifest = readManifest(await manifestBytes(sampleHead, sampleEntries(50_000)));
    const walk = manifest.pages();
    assert.equal(walk.next().value?.name, "00000000.ndjson.zst.age");
    let pages = 0;
    for (const entry of manifest.pages())
      pages += entry.name === pageName(pages, "ndjson.zst.age") ? 1 : 0;
    assert.equal(pages, 50_000);
  });

  it("is refused at every truncation", async () => {
    const bytes = await manifestBytes();
    for (let length = 0; length < bytes.length; length += 1) {
      assert.throws(() => readAll(bytes.subarray(0, length)), PipelineError, `${length} bytes`);
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
      assert.throws(() => readAll(Buffer.from(spelling)), failsWith("integrity-failed"), spelling);
    }
    assert.equal(({} as Record<string, unknown>)["polluted"], undefined);
  });

  it("is refused with bytes that are no UTF-8, in a name or beyond it", async () => {
    const bytes = await manifestBytes();
    for (const text of ['"version":"', '"name":"odd', '"lsn":"']) {
      const changed = Buffer.from(bytes);
      changed[bytes.indexOf(text) + text.length] = 0xb8;
      assert.throws(() => readAll(changed), failsWith("integrity-failed"));
    }
  });

  it("says which CSV it is, in one spelling, where that is not COPY's own", async () => {
    const dialect = { ...copyDialect, delimiter: "\t", null: "\\N", header: false };
    const head: ManifestHead = { ...sampleHead, layers: { ...csv, dialect } };
    const bytes = await manifestBytes(head, sampleEntries(3, head));
    assert.deepEqual(readManifest(bytes).head.layers.dialect, dialect);
    const text = bytes.toString();
    const line =
      '"encrypt":"age","dialect":{"delimiter":"\\t","quote":"\\"","header":false,"null":"\\\\N","lineEnd":"lf","quoteAll":false,"bom":false}},\n';
    assert.ok(text.includes(line));
    const other = text.replace(
      '"delimiter":"\\t","quote":"\\""',
      '"quote":"\\"","delimiter":"\\t"',
    );
    assert.throws(() => readAll(Buffer.from(other)), failsWith("integrity-failed"));
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
      assert.throws(() => readAll(bytes), failsWith("integrity-failed"), JSON.stringify(change));
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
      assert.throws(() => readAll(bytes), failsWith("integrity-failed"), name);
    }
  });

  it("is refused with a page that is no object, and told where", async () => {
    const text = (await manifestBytes()).toString();
    for (const line of ["1", "null", '"page"']) {
      const changed = text.replace(/^\{"name":"00000001.*(?=,$)/m, line);
      assert.notEqual(changed, text);
      assert.throws(() => readAll(Buffer.from(changed)), {
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
      assert.equal(readAll(await manifestBytes(head, [{ ...entry!, name }]))[0]?.name, name);
      const longer = { ...entry!, name: `${name}.age` };
      const other = await manifestBytes(head, [longer]);
      assert.throws(() => readAll(other), failsWith("integrity-failed"));
    }
  });

  it("is refused when totals are not those of the pages, or there are no pages", async () => {
    const text = (await manifestBytes()).toString();
    for (const [from, to] of [
      ['"pages":3', '"pages":2'],
      ['"records":30', '"records":31'],
      ['"bytes":303', '"bytes":304'],
    ] as const) {
      assert.throws(() => readAll(Buffer.from(text.replace(from, to))), /totals are not those/);
    }
    assert.throws(() => readManifest(Buffer.from(text.replace('"pages":3', '"pages":0'))));
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
      assert.throws(() => readAll(bytes), failsWith("integrity-failed"), order.join());
    }
  });

  it("of a later format is refused by its number", async () => {
    const text = (await manifestBytes()).toString().replace("spillway/1", "spillway/2");
    assert.throws(
      () => readManifest(Buffer.from(text)),
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

  describe("signature", () => {
    const { privateKey } = generateKeyPairSync("ed25519");
    const signer = publicText(privateKey);
    const stranger = publicText(generateKeyPairSync("ed25519").publicKey);
    let bytes: Buffer;
    let signature: Uint8Array;
    before(async () => {
      bytes = await manifestBytes({ ...sampleHead, signer });
      signature = signManifest(bytes, privateKey);
    });

    it("verifies, and says whether the signer was pinned", () => {
      assert.deepEqual(verifyManifestSignature(bytes, signature), { signer, pinned: false });
      const pem = createPublicKey(privateKey).export({ type: "spki", format: "pem" }).toString();
      for (const pinned of [signer, `${signer}\n`, pem]) {
        assert.deepEqual(verifyManifestSignature(bytes, signature, pinned), {
          signer,
          pinned: true,
        });
      }
    });

    it("finds every flipped byte of the manifest and of itself", () => {
      for (let at = 0; at < bytes.length; at += 1) {
        const flipped = Uint8Array.from(bytes);
        flipped[at]! ^= 1 << (at % 8);
        assert.throws(() => verifyManifestSignature(flipped, signature, signer), PipelineError);
        assert.throws(() => verifyManifestSignature(flipped, signature), PipelineError);
      }
      for (let at = 0; at < signature.length; at += 1) {
        const flipped = Uint8Array.from(signature);
        flipped[at]! ^= 1 << (at % 8);
        assert.throws(() => verifyManifestSignature(bytes, flipped, signer), PipelineError);
      }
      for (const cut of [0, 63]) {
        assert.throws(
          () => verifyManifestSignature(bytes, signature.subarray(0, cut)),
          PipelineError,
        );
      }
    });

    it("of a stranger does not satisfy a pin, even over a manifest that names the stranger", async () => {
      assert.throws(
        () => verifyManifestSignature(bytes, signature, stranger),
        failsWith("integrity-failed"),
      );
      const named = await manifestBytes({ ...sampleHead, signer: stranger });
      const signed = signManifest(named, privateKey);
      assert.throws(() => verifyManifestSignature(named, signed, signer), /another signer/);
      assert.throws(() => verifyManifestSignature(named, signed), failsWith("integrity-failed"));
    });

    it("is made over a file as over bytes, and verified by openssl", async function () {
      const folder = await mkdtemp(join(tmpdir(), "spillway-manifest-"));
      try {
        const path = join(folder, "manifest.json");
        await writeFile(path, bytes);
        const read = await readFile(path);
        const signed = signManifest(read, privateKey);
        assert.deepEqual(Buffer.from(signed), Buffer.from(signature));
        assert.equal(Buffer.compare(read, bytes), 0);
        needTools(this, "openssl");
        await writeFile(`${path}.sig`, signed);
        const pem = createPublicKey(privateKey).export({ type: "spki", format: "pem" });
        await writeFile(join(folder, "signer.pem"), pem);
        const said = runTool("openssl", [
          ..."pkeyutl -verify -pubin -rawin -inkey".split(" "),
          join(folder, "signer.pem"),
          "-in",
          path,
          "-sigfile",
          `${path}.sig`,
        ]);
        assert.match(said.toString(), /Verified Successfully/);
      } finally {
        await rm(folder, { recursive: true });
      }
    });

    it("needs a signer text that can be read", () => {
      const ec = generateKeyPairSync("ec", { namedCurve: "P-256" }).publicKey;
      const bad = [
        "",
        "ed25519:",
        "ed25519:AAAA",
        signer.slice(0, -2),
        signer.slice(8),
        `x${signer}`,
      ];
      for (const text of [...bad, ec.export({ type: "spki", format: "pem" }).toString()]) {
        assert.throws(() => parseSigner(text), failsWith("config-invalid"), text);
      }
    });
  });
});

describe("signing key", () => {
  let folder: string;
  beforeEach(async () => {
    folder = join(await mkdtemp(join(tmpdir(), "spillway-key-")), "state");
  });
  afterEach(() => rm(join(folder, ".."), { recursive: true }));

  it("is made once, in files only the user can read, and found again", async () => {
    const first = await loadSigningKey(undefined, folder);
    const again = await loadSigningKey(undefined, folder);
    assert.equal(first.made, true);
    assert.equal(again.made, false);
    assert.equal(again.publicText, first.publicText);
    assert.equal((await stat(folder)).mode & 0o777, 0o700);
    assert.equal((await stat(join(folder, "signing-key.pem"))).mode & 0o777, 0o600);
    assert.equal(await readFile(join(folder, "signer.pem"), "utf8"), first.publicPem);
    assert.deepEqual((await readdir(folder)).sort(), ["signer.pem", "signing-key.pem"]);
  });

  it("is the same for all who race to make it", async () => {
    const keys = await Promise.all(
      Array.from({ length: 8 }, () => loadSigningKey(undefined, folder)),
    );
    assert.equal(new Set(keys.map((key) => key.publicText)).size, 1);
    assert.equal(keys.filter((key) => key.made).length, 1);
  });

  it("may be given as PEM, and then nothing is written", async () => {
    const { privateKey, publicKey } = generateKeyPairSync("ed25519");
    const pem = privateKey.export({ type: "pkcs8", format: "pem" }).toString();
    const key = await loadSigningKey(pem, folder);
    assert.equal(key.publicText, publicText(publicKey));
    await assert.rejects(stat(folder));
  });

  it("is refused when it is no Ed25519 key, readable by others or a symlink", async () => {
    const rsa = generateKeyPairSync("rsa", { modulusLength: 2048 }).privateKey;
    const pem = rsa.export({ type: "pkcs8", format: "pem" }).toString();
    await assert.rejects(loadSigningKey(pem, folder), failsWith("config-invalid"));
    await assert.rejects(loadSigningKey("hunter2", folder), (error: unknown) => {
      return failsWith("config-invalid")(error) && !String(error).includes("hunter2");
    });
    await loadSigningKey(undefined, folder);
    const path = join(folder, "signing-key.pem");
    await chmod(path, 0o640);
    await assert.rejects(loadSigningKey(undefined, folder), /chmod 600/);
    await rm(path);
    await writeFile(join(folder, "elsewhere.pem"), pem, { mode: 0o600 });
    await symlink(join(folder, "elsewhere.pem"), path);
    await assert.rejects(loadSigningKey(undefined, folder), failsWith("config-invalid"));
  });
});

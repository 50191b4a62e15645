import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { generateKeyPairSync } from "node:crypto";
import { cp, mkdtemp, readFile, rename, rm, symlink, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { PipelineError, type ErrorCode } from "../../src/errors.ts";
import { createScanner } from "../../src/readback/records.ts";
import { copyDialect } from "../../src/stages/formats/csv-dialect.ts";
import { verifyExport, type VerifyLevel, type VerifyReport } from "../../src/readback/verify.ts";
import { createKey } from "../fixtures/keys.ts";
import {
  makeExport,
  ndjsonPages,
  type MadeExport,
  type MakeOptions,
} from "../fixtures/make-export.ts";

const failsWith = (code: ErrorCode) => (error: unknown) =>
  error instanceof PipelineError && error.code === code;

const levels: readonly VerifyLevel[] = ["quick", "bytes", "full"];

/** `object: problem`, sorted. */
const told = (report: VerifyReport) =>
  report.problems.map(({ object, problem }) => `${object}: ${problem}`).sort();

describe("verify", () => {
  let root: string;
  let identity: string;
  let recipient: string;
  beforeEach(async () => {
    root = await mkdtemp(join(tmpdir(), "spillway-verify-"));
  });
  afterEach(() => rm(root, { recursive: true }));
  before(async () => {
    ({ identity, recipient } = await createKey());
  });

  const make = (options: MakeOptions = {}, pages = ndjsonPages(30, 10)) =>
    makeExport(root, pages, { encrypt: { to: [recipient] }, ...options });
  const verify = (folder: string, level: VerifyLevel = "full", signer?: string) =>
    verifyExport(folder, { level, identity, ...(signer !== undefined && { signer }) });

  it("finds nothing wrong with a sound export, at any level and with any layers", async () => {
    const combinations: MakeOptions[] = [
      {},
      { compress: "gzip" },
      { compress: "none" },
      { encrypt: { passphrase: "a passphrase" } },
    ];
    for (const [index, options] of combinations.entries()) {
      const made = await make({ ...options, run: `r${index}` });
      for (const level of levels) {
        const report = await verifyExport(made.folder, {
          level,
          identity,
          passphrase: "a passphrase",
        });
        assert.deepEqual(report, {
          ok: true,
          level,
          complete: true,
          run: `r${index}`,
          pipeline: "observations",
          pages: 3,
          records: 30,
          bytes: report.bytes,
          problems: [],
          moreProblems: 0,
          signer: made.signer,
          pinned: false,
        });
      }
    }
    const plain = await makeExport(root, ndjsonPages(30, 10), { run: "plain" });
    assert.equal((await verifyExport(plain.folder, { level: "full" })).ok, true);
  });

  it("finds nothing wrong with an export of no records, and one whose record spans pages", async () => {
    const empty = await make({ run: "empty" }, ndjsonPages(0, 10));
    assert.equal((await verify(empty.folder)).ok, true);
    const spanning = await make({ run: "jumbo" }, [
      { content: '{"a":1}\n', records: 1 },
      { content: '{"a":"xxxx', records: 0, span: "first" },
      { content: "yyyy", records: 0, span: "middle" },
      { content: 'zz"}\n', records: 1, span: "last" },
      { content: '{"a":3}\n', records: 1 },
    ]);
    assert.deepEqual(told(await verify(spanning.folder)), []);
  });

  it("counts records of csv and json as their readers do", async () => {
    const csv = [
      { content: 'id,note\n1,"two\nlines, ""quoted"""\n2,\n', records: 2 },
      { content: '3,"', records: 0, span: "first" as const },
      { content: '\n"\n', records: 1, span: "last" as const },
    ];
    const json = [
      { content: '[\n{"a":[{},{"b":"]}"}]},\n{"a":"\\"{"}', records: 2 },
      { content: ',\n{"a":3}\n]\n', records: 1 },
    ];
    for (const [extension, pages] of Object.entries({ csv, json })) {
      const sound = await make({ extension, run: `${extension}-1` }, pages);
      assert.deepEqual(told(await verify(sound.folder)), []);
      const [first, ...rest] = pages;
      const miscounted = [{ ...first!, records: 3 }, ...rest];
      const wrong = await make({ extension, run: `${extension}-2` }, miscounted);
      assert.match(
        told(await verify(wrong.folder)).join(),
        /holds 2 records where the manifest says 3/,
      );
    }
  });

  it("takes the newest complete run of a pipeline, and asks which of several pipelines", async () => {
    await make({ run: "20260101T000000Z-a" });
    await make({ run: "20260102T000000Z-b" });
    await make({ run: "20260103T000000Z-c", unfinished: true });
    assert.equal((await verify(root)).run, "20260102T000000Z-b");
    assert.equal((await verify(join(root, "observations"))).run, "20260102T000000Z-b");
    await make({ pipeline: "patients" });
    await assert.rejects(verify(root), failsWith("config-invalid"));
    await assert.rejects(verify(join(root, "nowhere")), failsWith("not-found"));
  });

  it("calls an export without a manifest incomplete, not missing", async () => {
    const made = await make({ unfinished: true });
    for (const folder of [made.folder, root]) {
      const report = await verify(folder, "quick");
      assert.equal(report.ok, false);
      assert.equal(report.complete, false);
      assert.match(told(report).join(), /manifest.json: the export is incomplete/);
    }
  });

  it("knows a pinned signer from a stranger", async () => {
    const { privateKey } = generateKeyPairSync("ed25519");
    const made = await make({ key: privateKey });
    const pinned = await verify(made.folder, "quick", made.signer);
    assert.deepEqual([pinned.ok, pinned.pinned, pinned.signer], [true, true, made.signer]);
    const other = await make({ run: "other" });
    const refused = await verify(made.folder, "quick", other.signer);
    assert.deepEqual([refused.ok, refused.signer], [false, null]);
    assert.match(told(refused).join(), /not by the pinned signer/);
    await assert.rejects(verify(made.folder, "quick", "hunter2"), failsWith("config-invalid"));
  });

  it("says key-wrong for another key, and asks for one where none is given: neither is damage", async () => {
    const made = await make();
    const { identity: stranger } = await createKey();
    const attempt = verifyExport(made.folder, { level: "full", identity: stranger });
    await assert.rejects(attempt, failsWith("key-wrong"));
    await assert.rejects(verifyExport(made.folder, { level: "full" }), failsWith("input-missing"));
  });

  describe("of a damaged export", () => {
    let made: MadeExport;
    let at: (name: string) => string;
    beforeEach(async () => {
      made = await make();
      at = (name) => join(made.folder, name);
    });

    const expectAt = async (least: VerifyLevel, expected: readonly (string | RegExp)[]) => {
      for (const level of levels) {
        const report = await verify(made.folder, level);
        if (levels.indexOf(level) < levels.indexOf(least)) {
          assert.deepEqual(told(report), [], `${level} cannot see it`);
          continue;
        }
        assert.equal(report.ok, false, level);
        const problems = told(report).join("\n");
        for (const text of expected) assert.match(problems, new RegExp(text), level);
      }
    };

    it("names a missing page, sums file or signature", async () => {
      await rm(at(made.names[1]!));
      await rm(at("SHA256SUMS"));
      await expectAt("quick", [`${made.names[1]}: is missing`, "SHA256SUMS: is missing"]);
      assert.equal((await verify(made.folder)).problems.length, 2);
      await rm(at("manifest.json.sig"));
      assert.equal((await verify(made.folder)).complete, false);
    });

    it("names every missing page when all are gone", async () => {
      for (const name of made.names) await rm(at(name));
      await expectAt(
        "quick",
        made.names.map((name) => `${name}: is missing`),
      );
    });

    it("names objects that are not part of it", async () => {
      const strangers = [
        "00000000.ndjson.zst.age.bak",
        "00000003.ndjson.zst.age",
        "Notes.txt",
        "z",
      ];
      for (const name of strangers) await writeFile(at(name), "x");
      await expectAt(
        "quick",
        strangers.map((name) => `${name}: is not part of the export`),
      );
      assert.equal((await verify(made.folder)).problems.length, strangers.length);
    });

    it("names what is no file, or has a name that is no text, beside its pages", async () => {
      await rename(at(made.names[1]!), join(made.folder, "../moved"));
      await symlink("../moved", at(made.names[1]!));
      await symlink("nowhere", at("latest"));
      execFileSync("mkfifo", [at("pipe")]);
      await writeFile(Buffer.concat([Buffer.from(at("odd-")), Buffer.of(0xff)]), "x");
      await expectAt("quick", [
        `${made.names[1]} \\(no file\\): is not part of the export`,
        `${made.names[1]}: is missing`,
        "latest \\(no file\\): is not part of the export",
        "pipe \\(no file\\): is not part of the export",
        "odd-\ufffd: is not part of the export",
      ]);
    });

    it("names a truncated and an extended page", async () => {
      const [one, two] = [at(made.names[0]!), at(made.names[2]!)];
      await writeFile(one, (await readFile(one)).subarray(0, -1));
      await writeFile(two, Buffer.concat([await readFile(two), Buffer.from("x")]));
      await expectAt("quick", [
        `${made.names[0]}: has \\d+ bytes where the manifest says \\d+`,
        `${made.names[2]}: has`,
      ]);
    });

    it("names swapped pages of equal size, and a doubled page", async () => {
      const equal = [1, 2, 3, 4].map((id) => ({ content: `{"id":${id}}\n`, records: 1 }));
      made = await make({ run: "swap" }, equal);
      const [one, two, three] = made.names;
      await rename(at(one!), at("tmp"));
      await rename(at(two!), at(one!));
      await rename(at("tmp"), at(two!));
      await cp(at(one!), at(three!));
      const report = await verify(made.folder, "bytes");
      assert.deepEqual(told(report), [
        `${one}: holds the bytes of ${two}: swapped or doubled`,
        `${two}: holds the bytes of ${one}: swapped or doubled`,
        `${three}: holds the bytes of ${two}: swapped or doubled`,
      ]);
      assert.equal((await verify(made.folder, "quick")).ok, true);
    });

    it("finds every flipped byte of every object", async () => {
      made = await make({ run: "flip" }, ndjsonPages(2, 1));
      for (const name of [...made.names, "SHA256SUMS", "manifest.json", "manifest.json.sig"]) {
        const bytes = await readFile(at(name));
        // A byte at a time is too slow for a unit test; a step that is odd still meets every field.
        for (let offset = 0; offset < bytes.length; offset += 31) {
          const flipped = Uint8Array.from(bytes);
          flipped[offset]! ^= 1 << (offset % 8);
          await writeFile(at(name), flipped);
          const found = await verify(made.folder, "bytes").then(
            (report) => !report.ok,
            (error: unknown) => error instanceof PipelineError,
          );
          assert.ok(found, `${name} byte ${offset}`);
        }
        await writeFile(at(name), bytes);
      }
      assert.equal((await verify(made.folder, "bytes")).ok, true);
    });

    it("finds every truncation of the manifest, its signature and the sums", async () => {
      for (const name of ["SHA256SUMS", "manifest.json", "manifest.json.sig"]) {
        const bytes = await readFile(at(name));
        for (let length = 0; length < bytes.length; length += name === "manifest.json" ? 17 : 5) {
          await writeFile(at(name), bytes.subarray(0, length));
          assert.equal((await verify(made.folder, "quick")).ok, false, `${name} ${length}`);
        }
        await writeFile(at(name), Buffer.concat([bytes, Buffer.from("\n")]));
        assert.equal((await verify(made.folder, "quick")).ok, false, `${name} longer`);
        await writeFile(at(name), bytes);
      }
    });

    it("goes on after a damaged page and still checks those behind it", async () => {
      made = await make({
        run: "on",
        changeIdentity: (it) => (it.page === 2 ? { ...it, run: "x" } : it),
      });
      const first = at(made.names[0]!);
      const bytes = await readFile(first);
      bytes[bytes.length - 1]! ^= 1;
      await writeFile(first, bytes);
      assert.deepEqual(told(await verify(made.folder)), [
        `${made.names[0]}: was changed: its SHA-256 is not that of the manifest`,
        `${made.names[2]}: belongs to another run`,
      ]);
    });

    it("lists a thousand problems at most and counts the rest", async () => {
      await Promise.all(Array.from({ length: 1010 }, (_, i) => writeFile(at(`x${i}`), "")));
      const report = await verify(made.folder, "quick");
      assert.deepEqual([report.problems.length, report.moreProblems], [1000, 10]);
    });
  });

  it("finds what an exporter signed but the pages themselves deny", async () => {
    const lies: [MakeOptions, string][] = [
      [{ changeIdentity: (it) => ({ ...it, run: "another" }) }, "belongs to another run"],
      [{ changeIdentity: (it) => ({ ...it, page: it.page + 1 }) }, "is page 1 in place of page 0"],
      [{ changeIdentity: (it) => ({ ...it, records: 9 }) }, "counts other records"],
      [{ changeIdentity: (it) => ({ ...it, total: it.total + 1 }) }, "does not add up"],
      [{ changeIdentity: (it) => ({ ...it, chain: "0".repeat(64) }) }, "does not follow"],
      [{ changeIdentity: (it) => ({ ...it, span: "last" }) }, "spans records otherwise"],
      [{ changeIdentity: (it) => ({ ...it, final: false }) }, "is the last page but not marked so"],
      [
        { changeIdentity: (it) => ({ ...it, final: true }) },
        "is marked as the last page but is not",
      ],
      [{ changeIdentity: (it) => ({ ...it, bytes: it.bytes - 1 }) }, "another content size"],
      [{ plainBytes: 1 }, "manifest.json: states 1 bytes of records"],
      [
        { changeEntry: (entry) => ({ ...entry, records: 11 }) },
        "holds 10 records where the manifest says 11",
      ],
    ];
    for (const [index, [options, expected]] of lies.entries()) {
      const made = await make({ ...options, run: `lie${index}` });
      assert.equal((await verify(made.folder, "bytes")).ok, true, expected);
      assert.match(told(await verify(made.folder)).join("\n"), new RegExp(expected));
    }
  });

  it("finds a page that ends inside a record which no span says is cut", async () => {
    const binary = "PGCOPY\n\xff\r\n\0\0\0\0\0\0\0\0\0\0\x01\0\0\0\x02a";
    const cut: [string, string | Buffer, number][] = [
      ["ndjson", '{"id":1}\n{"id":2', 1],
      ["ndjson", '{"id":1}', 0],
      ["pgtext", "1\n2", 1],
      ["csv", 'id\n1\n"2\n', 1],
      ["csv", "id\n1\n2", 1],
      ["csv", "id", 0],
      ["json", '[\n{"id":1},\n{"id":', 1],
      ["pgbinary", Buffer.from(binary, "latin1"), 0],
    ];
    for (const [index, [extension, content, records]] of cut.entries()) {
      const made = await make({ extension, run: `cut${index}` }, [{ content, records }]);
      assert.match(told(await verify(made.folder)).join(), /ends inside a record/);
    }
  });

  it("takes a page of a byte order mark alone for framing", () => {
    const scanner = createScanner({ extension: "csv", dialect: { ...copyDialect, bom: true } })!;
    scanner.scan(Buffer.from("\ufeff"), () => assert.fail("no record ends here"));
    assert.equal(scanner.isInside, false);
    scanner.scan(Buffer.from("id"), () => assert.fail("no record ends here"));
    assert.equal(scanner.isInside, true);
  });

  it("reports progress page by page, and stops when its signal fires", async () => {
    const made = await make();
    const seen: number[] = [];
    const stop = new AbortController();
    const attempt = verifyExport(made.folder, {
      level: "bytes",
      signal: stop.signal,
      onProgress({ pages, totalPages }) {
        assert.equal(totalPages, 3);
        seen.push(pages);
        if (pages === 2) stop.abort();
      },
    });
    await assert.rejects(attempt);
    assert.deepEqual(seen, [1, 2]);
  });
});

/**
 * The format is documented: a second reader, written from docs/format.md alone, reads what runs write and finds what
 * was done to it. What it refuses, the first reader refuses too, but for one case that says so.
 */
import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { generateKeyPairSync } from "node:crypto";
import { copyFile, readFile, rename, rm, symlink, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { run } from "../../src/pipeline/run.ts";
import { restoreExport } from "../../src/readback/restore.ts";
import { verifyExport } from "../../src/readback/verify.ts";
import { copyDialect } from "../../src/stages/formats/csv-dialect.ts";
import type { FrameIdentity } from "../../src/workers/identity.ts";
import { forgeManifest, type Forgery } from "../fixtures/forge.ts";
import {
  vectorFolder as vectors,
  vectorPassphrase,
  vectorRows,
} from "../fixtures/format-vectors.ts";
import { createKey } from "../fixtures/keys.ts";
import {
  makeExport,
  ndjsonPages,
  type MakeOptions,
  type PlainPage,
} from "../fixtures/make-export.ts";
import {
  countedRows,
  makePipeline,
  testEnv,
  useFolder,
  type Parts,
} from "../fixtures/pipelines.ts";
import { needTools } from "../fixtures/stock-tools.ts";

const reader = join(import.meta.dirname, "../../examples/read-export.py");
const pty = join(import.meta.dirname, "../fixtures/age-pty.py");

const python = (args: readonly string[]) => {
  const { status, stdout, stderr } = spawnSync("python3", args, { maxBuffer: 2 ** 26 });
  return { code: status, records: stdout, said: stderr.toString() };
};
const read = (verb: "verify" | "restore", folder: string, ...args: string[]) =>
  python([reader, verb, folder, ...args]);

/** Records larger than the pages of `makePipeline`, with all that hides the end of a record. */
const wideRow = (id: number) => ({
  id,
  text: id % 7 === 3 ? `"},]\n\\"${"é\\".repeat(3000)}` : `row "${id}"\n, {[`,
});

describe("the second reader", () => {
  const scratch = useFolder();
  const { privateKey } = generateKeyPairSync("ed25519");
  let identity: string;
  let recipient: string;
  let keys: string;
  before(async function () {
    needTools(this, "python3", "age", "zstd", "openssl");
    ({ identity, recipient } = await createKey());
    keys = join(scratch.path, "key.txt");
    await writeFile(keys, `${identity}\n`);
  });

  it("has at most 300 lines, and nothing of ours", async () => {
    const text = await readFile(reader, "utf8");
    assert.ok(text.split("\n").length - 1 <= 300);
    const imported = [...text.matchAll(/^import (.+)$/gm)].flatMap(([, names]) =>
      names!.split(", "),
    );
    const check = `import sys; sys.exit(any(n not in sys.stdlib_module_names for n in sys.argv[1:]))`;
    assert.equal(python(["-c", check, ...imported]).code, 0);
  });

  describe("reads", () => {
    for (const [vector, rows] of Object.entries(vectorRows)) {
      if (vector === "zstd-passphrase") continue;
      it(`vector ${vector}`, async () => {
        const key = join(vectors, "key.txt");
        const { code, records, said } = read("restore", join(vectors, vector), "-i", key);
        assert.equal(code, 0, said);
        assert.deepEqual(records, await readFile(join(vectors, rows)));
      });
    }

    it("vector zstd-passphrase, asking at the terminal for every page", () => {
      const folder = join(vectors, "zstd-passphrase");
      const right = python([pty, vectorPassphrase, "python3", reader, "verify", folder]);
      assert.equal(right.code, 0);
      const wrong = python([pty, `${vectorPassphrase}x`, "python3", reader, "verify", folder]);
      assert.equal(wrong.code, 1);
    });

    const shapes: [string, Partial<Parts>, { rows: number; wide?: boolean; sealed?: boolean }][] = [
      ["ndjson, zstd, age", {}, { rows: 300, sealed: true }],
      ["csv, gzip, age", { format: "csv", compress: "gzip" }, { rows: 300, sealed: true }],
      ["json, none, age", { format: "json", compress: "none" }, { rows: 300, sealed: true }],
      ["wide ndjson, gzip, none", { compress: "gzip" }, { rows: 30, wide: true }],
      ["wide csv, zstd, none", { format: "csv" }, { rows: 30, wide: true }],
      ["wide json, zstd, age", { format: "json" }, { rows: 30, wide: true, sealed: true }],
      ["wide json, none, none", { format: "json", compress: "none" }, { rows: 30, wide: true }],
      ["no rows of ndjson, zstd, age", {}, { rows: 0, sealed: true }],
      ["no rows of json, gzip, none", { format: "json", compress: "gzip" }, { rows: 0 }],
    ];
    for (const [name, parts, { rows, wide, sealed }] of shapes) {
      it(`what a run makes: ${name}`, async () => {
        const path = scratch.next();
        const source = countedRows({ rows, ...(wide && { row: wideRow }) });
        const to = join(path, "out");
        const encrypt = sealed ? { encrypt: { to: recipient } } : {};
        const options = { source, dir: join(path, "spool"), to, ...parts, ...encrypt };
        const { runId } = await run(makePipeline(options), { env: testEnv });
        const folder = join(to, "observations", runId);
        const { signer } = await verifyExport(folder, { level: "quick" });
        const theirs = read("restore", folder, "-i", keys, "--signer", signer!);
        assert.equal(theirs.code, 0, theirs.said);
        assert.match(theirs.said, new RegExp(`^${rows} records in \\d+ pages are right`));
        const { file, pages } = await restoreExport(folder, { to: path, identity });
        assert.deepEqual(theirs.records, await readFile(file!));
        assert.equal(pages > 3, rows > 0);
      });
    }
  });

  type Damage = (folder: string, names: readonly string[]) => Promise<unknown>;
  interface Case {
    readonly damage?: Damage;
    /** Signed again with the exporter's own key, which only the inside of pages can contradict. */
    readonly forge?: Forgery;
    readonly options?: MakeOptions;
    readonly pages?: readonly PlainPage[];
    readonly args?: () => string[];
    readonly says: RegExp;
    /** The first reader takes the exporter's word for it. */
    readonly here?: boolean;
  }

  const edit = async (path: string, change: (bytes: Buffer) => Uint8Array) =>
    writeFile(path, change(await readFile(path)));
  const flip =
    (at: (bytes: Buffer) => number) =>
    (bytes: Buffer): Buffer => {
      bytes[at(bytes)]! ^= 1;
      return bytes;
    };
  const middle = flip((bytes) => bytes.length >> 1);
  const swap: Damage = async (folder, [one, two]) => {
    await rename(join(folder, one!), join(folder, "x"));
    await rename(join(folder, two!), join(folder, one!));
    await rename(join(folder, "x"), join(folder, two!));
  };
  const fromOtherRun: Damage = async (folder, names) => {
    const options = { encrypt: { to: [recipient] }, run: "other", key: privateKey };
    const other = await makeExport(join(folder, "../../other"), ndjsonPages(30, 10), options);
    await copyFile(join(other.folder, names[1]!), join(folder, names[1]!));
  };
  const lie = (change: Partial<FrameIdentity>, page = 1): MakeOptions => ({
    changeIdentity: (told) => (told.page === page ? { ...told, ...change } : told),
  });
  const page =
    (change: (bytes: Buffer) => Uint8Array): Damage =>
    (folder, names) =>
      edit(join(folder, names[1]!), change);
  const at = (offset: number) => page(flip((bytes) => (bytes.length + offset) % bytes.length));
  const more = page((bytes) => Buffer.concat([bytes, Buffer.of(0)]));
  const cutShort = page((bytes) => bytes.subarray(0, -1));
  const identityGone = page((bytes) => bytes.subarray(8 + bytes.readUInt32LE(4)));
  const twice = page((bytes) => Buffer.concat([bytes, bytes.subarray(8 + bytes.readUInt32LE(4))]));
  const open = { encrypt: undefined } as unknown as MakeOptions;
  const openGzip: MakeOptions = { ...open, compress: "gzip" };
  const renumber = <Entry extends { name: string }>(entries: Entry[]) =>
    entries.map((entry, i) => ({ ...entry, name: `${`${i}`.padStart(8, "0")}.ndjson.zst.age` }));

  const cases: Record<string, Case> = {
    "a bit of a page": { damage: page(middle), says: /00000001.* is not what manifest\.json says/ },
    "a bit of the manifest": {
      damage: (folder) =>
        edit(join(folder, "manifest.json"), (b) => Buffer.from(b.toString().replace(":1,", ":2,"))),
      says: /signature does not fit/,
    },
    "a bit of the signature": {
      damage: (folder) => edit(join(folder, "manifest.json.sig"), middle),
      says: /signature does not fit/,
    },
    "a signature with one more byte": {
      damage: (folder) =>
        edit(join(folder, "manifest.json.sig"), (b) => Buffer.concat([b, Buffer.of(0)])),
      says: /does not have 64 bytes/,
    },
    "a bit of SHA256SUMS": {
      damage: (folder) => edit(join(folder, "SHA256SUMS"), middle),
      says: /SHA256SUMS and manifest\.json differ/,
    },
    "a line more in SHA256SUMS": {
      damage: (folder) =>
        edit(join(folder, "SHA256SUMS"), (b) => Buffer.concat([b, Buffer.of(10)])),
      says: /SHA256SUMS says more/,
    },
    "a page deleted": {
      damage: (folder, [, name]) => rm(join(folder, name!)),
      says: /00000001.* is missing/,
    },
    "the manifest deleted": {
      damage: (folder) => rm(join(folder, "manifest.json")),
      says: /manifest\.json is missing/,
    },
    "the signature deleted": {
      damage: (folder) => rm(join(folder, "manifest.json.sig")),
      says: /manifest\.json\.sig is missing/,
    },
    "a page cut short": { damage: cutShort, says: /00000001.* has \d+ bytes, not/ },
    "two pages swapped": { damage: swap, says: /0000000[01]/ },
    "a page of another run": { damage: fromOtherRun, says: /00000001/ },
    "a page doubled": {
      damage: (folder, [one]) =>
        copyFile(join(folder, one!), join(folder, one!.replace("00000000", "00000003"))),
      says: /'00000003.*does not belong/,
    },
    "a foreign object": {
      damage: (folder) => writeFile(join(folder, "notes.txt"), ""),
      says: /'notes\.txt' .*does not belong/,
    },
    "a page that is a link": {
      damage: async (folder, [one]) => {
        await rename(join(folder, one!), join(folder, "../moved"));
        await symlink("../moved", join(folder, one!));
      },
      says: /symbolic links/,
    },
    "a wrong key": {
      args: () => ["-i", join(vectors, "key.txt")],
      says: /age does not open 00000000/,
    },
    "a signer who is not the expected": {
      args: () => ["-i", keys, "--signer", `ed25519:${"A".repeat(43)}=`],
      says: /not the signer expected/,
    },
    "totals edited": {
      forge: { text: (text) => text.replace('"records":30,', '"records":31,') },
      says: /totals/,
    },
    "plain bytes edited": {
      forge: { tail: () => ({ plainBytes: 7 }) },
      says: /pages hold \d+ bytes/,
    },
    "another format version": {
      forge: { text: (text) => text.replace("spillway/1", "spillway/2") },
      says: /format in manifest\.json/,
    },
    "a manifest spelled otherwise": {
      forge: { text: (text) => text.replace('{"name":"spillway",', '{"name": "spillway",') },
      says: /tool in manifest\.json is not as format/,
    },
    "a manifest with a key twice": {
      forge: {
        text: (text) => text.replace('{"name":"spillway",', '{"name":"a","name":"spillway",'),
      },
      says: /tool in manifest\.json is not as format/,
    },
    "a manifest that goes on": { forge: { text: (text) => `${text}\n` }, says: /follows the end/ },
    "pages swapped, and signed so": { damage: swap, forge: {}, says: /says page 1, and not 0/ },
    "a page of another run, signed so": { damage: fromOtherRun, forge: {}, says: /says run other/ },
    "a page left out, and signed so": {
      damage: async (folder, [, one, two]) => rename(join(folder, two!), join(folder, one!)),
      forge: { pages: (pages) => pages.slice(0, 2) },
      says: /says page 2, and not 1/,
    },
    "the last page left out, and signed so": {
      damage: (folder, names) => rm(join(folder, names[2]!)),
      forge: { pages: (pages) => pages.slice(0, 2) },
      says: /says final False, and not True/,
    },
    "a page doubled, and signed so": {
      damage: (folder, names) =>
        copyFile(join(folder, names[2]!), join(folder, names[2]!.replace("00000002", "00000003"))),
      forge: { pages: (pages) => renumber([...pages, pages[2]!]) },
      says: /says final True, and not False/,
    },
    "records moved in the manifest": {
      forge: {
        pages: (pages) => pages.map((entry, i) => ({ ...entry, records: [9, 11, 10][i]! })),
      },
      says: /says records 10, and not 9/,
    },
    "a page that lies about its number": { options: lie({ page: 2 }), says: /says page 2/ },
    "a page that lies about its records": { options: lie({ records: 9 }), says: /says records 9/ },
    "a page that lies about its total": { options: lie({ total: 21 }), says: /says total 21/ },
    "a page that lies about its span": { options: lie({ span: "last" }), says: /says span last/ },
    "a page that lies about its chain": {
      options: lie({ chain: "0".repeat(64) }),
      says: /says chain 0+, and/,
    },
    "a page that lies about its end": { options: lie({ final: true }), says: /says final True/ },
    "a page that lies about its bytes": { options: lie({ bytes: 9 }), says: /says bytes 9/ },
    "records that are not there": {
      options: { compress: "none" },
      pages: [{ content: "{}\n", records: 2 }],
      says: /does not hold the 2 records/,
    },
    "a record without an end": {
      pages: [{ content: '{"id":1}\n{"id"', records: 1 }],
      says: /does not hold the 1 records/,
      here: true,
    },
    "a byte behind the zstd frame": { options: open, damage: more, forge: {}, says: /whole zstd/ },
    "two zstd frames": { options: open, damage: twice, forge: {}, says: /whole zstd/ },
    "a zstd frame cut short": { options: open, damage: cutShort, forge: {}, says: /whole zstd/ },
    "a wrong zstd checksum": { options: open, damage: at(-1), forge: {}, says: /whole zstd/ },
    "no identity": {
      options: open,
      damage: identityGone,
      forge: {},
      says: /begin with an identity/,
    },
    "a byte behind the gzip member": {
      options: openGzip,
      damage: more,
      forge: {},
      says: /whole gzip/,
    },
    "a gzip member cut short": {
      options: openGzip,
      damage: cutShort,
      forge: {},
      says: /whole gzip/,
    },
    "a wrong gzip checksum": {
      options: openGzip,
      damage: at(-5),
      forge: {},
      says: /whole gzip/,
    },
    "a time in gzip": { options: openGzip, damage: at(4), forge: {}, says: /with an identity/ },
  };

  describe("finds", () => {
    for (const [name, { damage, forge, options, pages, args, says, here }] of Object.entries(
      cases,
    )) {
      it(name, async () => {
        const made = await makeExport(scratch.next(), pages ?? ndjsonPages(30, 10), {
          encrypt: { to: [recipient] },
          key: privateKey,
          ...options,
        });
        await damage?.(made.folder, made.names);
        if (forge) await forgeManifest(made.folder, privateKey, forge);
        const { code, said } = read("verify", made.folder, ...(args?.() ?? ["-i", keys]));
        assert.equal(code, 1, said);
        assert.match(said, /^read-export: [^\n]+\n$/);
        assert.match(said, says);
        const ours = verifyExport(made.folder, { level: "full", identity });
        if (!args && !here)
          assert.notEqual(
            await ours.then(
              ({ ok }) => ok,
              () => false,
            ),
            true,
          );
      });
    }

    it("dialects that say nothing, or have a NULL that is none, as spillway does", async () => {
      const options = { key: privateKey, extension: "csv" };
      for (const change of [{}, { null: "é".repeat(17) }, { null: "\\." }]) {
        const made = await makeExport(scratch.next(), [{ content: "id\n", records: 0 }], options);
        const dialect = { ...copyDialect, ...change };
        const head: Forgery["head"] = (it) => ({ ...it, layers: { ...it.layers, dialect } });
        await forgeManifest(made.folder, privateKey, { head });
        assert.match(read("verify", made.folder).said, /dialect|layers/);
        assert.equal((await verifyExport(made.folder, { level: "full" })).ok, false);
      }
    });

    it("an export under the name of another run", async () => {
      const made = await makeExport(scratch.next(), ndjsonPages(3, 1), { key: privateKey });
      const moved = join(made.folder, "../20260102T030405678Z-00000000");
      await rename(made.folder, moved);
      const { code, said } = read("verify", moved);
      assert.equal(code, 1);
      assert.match(said, /under the name of another/);
    });

    it("damage before it writes a byte of the page", async () => {
      const made = await makeExport(scratch.next(), ndjsonPages(30, 10), { key: privateKey });
      const whole = read("restore", made.folder).records;
      await edit(join(made.folder, made.names[1]!), middle);
      const { code, records } = read("restore", made.folder);
      assert.equal(code, 1);
      assert.deepEqual(records, whole.subarray(0, records.length));
      assert.equal(records.toString().split("\n").length - 1, 10);
    });
  });
});

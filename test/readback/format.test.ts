import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { cp, mkdtemp, readFile, readdir, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { restoreExport } from "../../src/readback/restore.ts";
import { verifyExport } from "../../src/readback/verify.ts";
import {
  vectorFolder as vectors,
  vectorPassphrase as passphrase,
  vectorRows,
} from "../fixtures/format-vectors.ts";
import { needTools, runTool } from "../fixtures/stock-tools.ts";

const document = join(import.meta.dirname, "../../docs/format.md");

/** The shell blocks of the document, in order. */
const shellBlocks = async () =>
  [...(await readFile(document, "utf8")).matchAll(/^```sh\n(.*?)^```$/gms)].map(
    (match) => match[1]!,
  );

/** A copy of a vector with its key, and a shell in it. */
async function prepare(scratch: string) {
  const folder = join(scratch, "run");
  await cp(join(vectors, "zstd-age"), folder, { recursive: true });
  await cp(join(vectors, "key.txt"), join(folder, "key.txt"));
  const manifest = await readFile(join(folder, "manifest.json"), "utf8");
  const named = /^"signer":"([^"]+)"/m.exec(manifest)![1]!;
  const run = (script: string) =>
    execFileSync("bash", ["-eu", "-c", script], {
      cwd: folder,
      env: { ...process.env, SIGNER: named },
      stdio: ["ignore", "pipe", "pipe"],
    }).toString();
  return { folder, run };
}

/** Top-level keys of a manifest, each once, in order. */
const keysOf = (lines: string) => [
  ...new Set([...lines.matchAll(/^\{?"(\w+)":/gm)].map((match) => match[1]!)),
];

describe("format", () => {
  let scratch: string;
  let identity: string;
  let signer: string;
  beforeEach(async () => {
    scratch = await mkdtemp(join(tmpdir(), "spillway-format-"));
    identity = await readFile(join(vectors, "key.txt"), "utf8");
    signer = await readFile(join(vectors, "signer.pem"), "utf8");
  });
  afterEach(() => rm(scratch, { recursive: true }));

  it("has no vector that is not tested", async () => {
    const entries = await readdir(vectors, { withFileTypes: true });
    const folders = entries.filter((entry) => entry.isDirectory()).map(({ name }) => name);
    assert.deepEqual(folders.toSorted(), Object.keys(vectorRows).toSorted());
  });

  for (const [run, rows] of Object.entries(vectorRows)) {
    it(`vector ${run} verifies in full and restores its rows`, async () => {
      const folder = join(vectors, run);
      const options = { identity, signer, ...(run === "zstd-passphrase" && { passphrase }) };
      const report = await verifyExport(folder, { level: "full", ...options });
      assert.deepEqual(report.problems, []);
      const count = rows.startsWith("none") ? [1, 0] : [4, 4];
      assert.deepEqual([report.pages, report.records, report.pinned], [...count, true]);
      const { file } = await restoreExport(folder, { to: scratch, ...options });
      assert.deepEqual(await readFile(file!), await readFile(join(vectors, rows)));
    });
  }

  it("is restored by stock age, zstd and gzip, page by page", async function () {
    needTools(this, "age", "zstd", "gzip");
    const rows = await readFile(join(vectors, "rows.ndjson"));
    for (const [run, tool] of [
      ["zstd-age", "zstd"],
      ["gzip-age", "gzip"],
      ["none-age", "cat"],
      ["zstd-none", "zstd"],
    ] as const) {
      const folder = join(vectors, run);
      const names = (await readdir(folder)).filter((name) => /^\d/.test(name)).sort();
      const parts = await Promise.all(
        names.map(async (name) => {
          const sealed = await readFile(join(folder, name));
          const frame = name.endsWith(".age")
            ? runTool("age", ["-d", "-i", join(vectors, "key.txt")], sealed)
            : sealed;
          return tool === "cat" ? frame : runTool(tool, ["-d", "-c"], frame);
        }),
      );
      assert.deepEqual(Buffer.concat(parts), rows, run);
    }
  });

  describe("document", () => {
    it("commands verify and restore an export with stock tools, as they stand there", async function () {
      needTools(this, "bash", "age", "zstd", "openssl", "sha256sum");
      const { folder, run } = await prepare(scratch);
      const blocks = await shellBlocks();
      assert.equal(blocks.length, 6);
      const said = blocks.map(run);
      assert.match(said[0]!, /Verified Successfully/);
      assert.match(said[5]!, /^\{"spillway":1,"run":"zstd-age","page":0,.*\}\n$/);
      const rows = await readFile(join(folder, "rows.ndjson"));
      assert.deepEqual(rows, await readFile(join(vectors, "rows.ndjson")));
      assert.deepEqual(await readFile(join(folder, "signer.pem"), "utf8"), signer);
    });

    it("commands fail on a changed manifest, changed sums, a missing and an extra page", async function () {
      needTools(this, "bash", "age", "zstd", "openssl", "sha256sum");
      const blocks = await shellBlocks();
      const damages: [string, number][] = [
        [
          'sed -i s/Ada/Eve/ manifest.json; sed -i \'s/"generation":1/"generation":2/\' manifest.json',
          0,
        ],
        ["sed -i 1s/a/b/ SHA256SUMS; sed -i 1s/0/1/ SHA256SUMS", 1],
        ["rm 00000003.ndjson.zst.age", 2],
        ["cp 00000003.ndjson.zst.age 00000004.ndjson.zst.age", 2],
        ["truncate -s -1 00000001.ndjson.zst.age", 3],
      ];
      for (const [damage, block] of damages) {
        const { folder, run } = await prepare(scratch);
        run(damage);
        assert.throws(() => run(blocks[block]!), damage);
        await rm(folder, { recursive: true });
      }
    });

    it("shows the manifest and identity as they are spelled", async () => {
      const text = await readFile(document, "utf8");
      const manifest = await readFile(join(vectors, "zstd-age", "manifest.json"), "utf8");
      const shown = /^```text\n(\{"format".*?)^```$/ms.exec(text)![1]!;
      assert.deepEqual(keysOf(shown), keysOf(manifest));
    });
  });
});

/** That an export is what lies under its name, when all that could be checked in the pages themselves agrees. */
import assert from "node:assert/strict";
import { cp, mkdir, readFile, rename, writeFile } from "node:fs/promises";
import { dirname, join } from "node:path";
import { listExports } from "../../src/readback/list-exports.ts";
import { readPages } from "../../src/readback/read-export.ts";
import { verifyExport } from "../../src/readback/verify.ts";
import { makeExport, ndjsonPages } from "../fixtures/make-export.ts";
import { useFolder } from "../fixtures/pipelines.ts";

const [older, newer] = ["20260101T000000000Z-0000000a", "20260202T000000000Z-0000000b"];

describe("whose export it is", () => {
  const folder = useFolder();
  const make = async (run: string) => {
    const root = folder.next();
    return { root, ...(await makeExport(root, ndjsonPages(90, 30), { run, pipeline: "rows" })) };
  };
  const refuses = async (url: string) => {
    const { ok, problems } = await verifyExport(url, { level: "full" });
    assert.equal(ok, false);
    assert.match(JSON.stringify(problems), /lies under another name/);
    await assert.rejects(Array.fromAsync(readPages(url)), {
      code: "integrity-failed",
      message: /lies under another name/,
    });
  };

  it("is not believed in another run's place: an old one does not become the newest", async () => {
    const { root, folder: from } = await make(older);
    const to = join(dirname(from), newer);
    await cp(from, to, { recursive: true });
    await refuses(to);
    await refuses(join(root, "rows"));
    assert.ok((await verifyExport(from, { level: "full" })).ok);
  });

  it("is not believed in another pipeline's place", async () => {
    const { root, folder: from } = await make(older);
    await mkdir(join(root, "others"));
    await rename(from, join(root, "others", older));
    await refuses(root);
  });

  it("may lie under any name that is no run's, escaped or not", async () => {
    for (const name of ["100%", "50%25 of it", "a b", "ü"]) {
      const { root, folder: from } = await make(older);
      await rename(from, join(dirname(from), name));
      const found = await verifyExport(root, { level: "full" });
      assert.deepEqual([found.ok, found.run], [true, older]);
      assert.ok((await verifyExport(join(root, "rows", name), { level: "full" })).ok);
    }
  });

  it("is the newest run's, and no copy's that has a name of its own", async () => {
    const { root, folder: from } = await make(older);
    await cp(from, join(dirname(from), "backup"), { recursive: true });
    await makeExport(root, ndjsonPages(30, 30), { run: newer, pipeline: "rows" });
    for (const url of [root, join(root, "rows")])
      assert.equal((await verifyExport(url, { level: "full" })).run, newer);
  });

  it("is not given out where a byte of a page that is neither compressed nor encrypted was changed", async () => {
    const pages = ndjsonPages(90, 30);
    const made = await makeExport(folder.next(), pages, { compress: "none" });
    const path = join(made.folder, made.names[1]!);
    const bytes = await readFile(path);
    // A digit for a digit: as many bytes, as many records, and JSON as before.
    const at = bytes.indexOf("31");
    bytes.write("9", at);
    await writeFile(path, bytes);
    await assert.rejects(Array.fromAsync(readPages(made.folder)), {
      code: "integrity-failed",
      message: /was changed/,
    });
  });

  it("is none that could be read back where pages became rows of a table", async () => {
    for (const url of ["postgresql://localhost/db", "sqlite:./rows.db"]) {
      const refused = { code: "config-invalid", message: /became rows of a table there/ };
      await assert.rejects(verifyExport(url, { level: "quick" }), refused);
      await assert.rejects(Array.fromAsync(listExports(url)), refused);
    }
  });
});

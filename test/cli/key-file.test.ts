import assert from "node:assert/strict";
import { mkdtemp, readdir, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { basename, join } from "node:path";
import { makeFolderOfFiles, writeNewFile } from "../../src/cli/key-file.ts";
import { failFiles, failure, type FailingFiles } from "../fixtures/failing-files.ts";

describe("the file of a key", () => {
  let folder: string;
  let files: FailingFiles;
  const syncs = (name: string) => ({ on: "sync", at: new RegExp(`/${name}$`) }) as const;
  before(async () => {
    folder = await mkdtemp(join(tmpdir(), "spillway-key-file-"));
    files = failFiles(folder);
  });
  after(async () => {
    files.restore();
    await rm(folder, { recursive: true });
  });

  it("is synced, and its name in its folder too, before its public half is told", async () => {
    const synced: string[] = [];
    for (const name of ["key.txt", basename(folder)]) {
      const play = (go: () => Promise<unknown>) => (synced.push(name), go());
      files.faults.push({ ...syncs(name), play });
    }
    await writeNewFile(join(folder, "key.txt"), "secret\n", 0o600);
    assert.deepEqual(synced, ["key.txt", basename(folder)]);
    assert.equal(await readFile(join(folder, "key.txt"), "utf8"), "secret\n");
  });

  it("is not called written where the file or the folder cannot be synced", async () => {
    for (const name of ["lost.txt", basename(folder)]) {
      files.faults.push({ ...syncs(name), play: () => Promise.reject(failure("EIO")) });
      const path = join(folder, "lost.txt");
      const message = `${path}: cannot be written (EIO)`;
      await assert.rejects(writeNewFile(path, "secret\n"), { code: "config-invalid", message });
      assert.deepEqual(files.faults, []);
      await rm(path, { force: true });
    }
  });

  it("is gone when it could not be written whole", async () => {
    const folderBefore = await readdir(folder);
    const at = /\/half\.txt$/;
    const play = async (go: (bytes?: number) => Promise<unknown>) => {
      await go(3);
      throw failure("ENOSPC");
    };
    files.faults.push({ on: "write", at, play });
    const path = join(folder, "half.txt");
    const message = `${path}: cannot be written (ENOSPC)`;
    await assert.rejects(writeNewFile(path, "secret\n"), { code: "config-invalid", message });
    assert.deepEqual(await readdir(folder), folderBefore);
  });

  it("may lie in a new folder, whose name is synced, and its parents' names too", async () => {
    const synced: string[] = [];
    for (const at of [basename(folder), "deep"]) {
      const play = (go: () => Promise<unknown>) => (synced.push(at), go());
      files.faults.push({ ...syncs(at), play });
    }
    await makeFolderOfFiles(join(folder, "deep", "keys"));
    assert.deepEqual(synced, [basename(folder), "deep"]);
  });

  it("may lie in a new folder whose name cannot be synced, as in a folder of others", async () => {
    const play = () => Promise.reject(failure("EACCES"));
    for (let times = 0; times < 2; times += 1)
      files.faults.push({ ...syncs(basename(folder)), play });
    const path = join(folder, "theirs");
    await makeFolderOfFiles(path);
    assert.deepEqual(await readdir(path), []);
  });

  it("needs a folder that can be made", async () => {
    const path = join(folder, "key.txt", "below");
    const message = `${path}: cannot be made (ENOTDIR); expected a folder of your own`;
    await assert.rejects(makeFolderOfFiles(path), { code: "config-invalid", message });
  });

  it("is written in a folder of others, which may not be synced", async () => {
    files.faults.push({
      ...syncs(basename(folder)),
      play: () => Promise.reject(failure("EACCES")),
    });
    await writeNewFile(join(folder, "ours.txt"), "secret\n");
    assert.deepEqual(files.faults, []);
    assert.equal(await readFile(join(folder, "ours.txt"), "utf8"), "secret\n");
  });
});

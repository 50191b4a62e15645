import assert from "node:assert/strict";
import { lstat, mkdir, open, readFile, readdir, symlink, writeFile } from "node:fs/promises";
import { basename, join } from "node:path";
import {
  gather,
  makeFolder,
  makeTopFolder,
  partsOf,
  readAll,
  writeAll,
  writeDurably,
  writeSynced,
} from "../../src/stages/durable-file.ts";
import { realDisk, type Disk } from "../../src/stages/world.ts";
import { failure } from "../fixtures/failing-files.ts";
import { useFolder } from "../fixtures/pipelines.ts";
import { writeDown } from "../fixtures/written-disk.ts";

const bytes = Buffer.from("what must survive a power cut");

describe("durable-file", () => {
  const folder = useFolder();
  const fresh = async () => {
    const path = folder.next();
    await mkdir(path);
    return path;
  };

  it("writes all bytes though each write takes few of them, at a place or where the file stands", async () => {
    const place = await fresh();
    const disk = writeDown({ pieceBytes: 3 });
    await writeSynced(join(place, "a"), [bytes, bytes], disk);
    assert.deepEqual(await readFile(join(place, "a")), Buffer.concat([bytes, bytes]));
    const file = await disk.open(join(place, "a"), 2);
    await writeAll(file, bytes, 7);
    await file.close();
    const expected = Buffer.concat([bytes, bytes]);
    bytes.copy(expected, 7);
    assert.deepEqual(await readFile(join(place, "a")), expected);
  });

  it("refuses a write that takes nothing, instead of trying for ever", async () => {
    const stuck = { write: async () => ({ bytesWritten: 0 }) };
    await assert.rejects(writeAll(stuck, bytes), /took nothing/);
  });

  it("reads all bytes though each read gives few of them, and to the end of a shorter file", async () => {
    const place = await fresh();
    await writeFile(join(place, "a"), bytes);
    const file = await writeDown({ pieceBytes: 4 }).open(join(place, "a"), 0);
    assert.deepEqual(await readAll(file, Buffer.alloc(bytes.length), 0), bytes);
    assert.deepEqual(await readAll(file, Buffer.alloc(1000), 5), bytes.subarray(5));
    await file.close();
  });

  it("syncs the file before it has its name, and the folder of the name after it", async () => {
    const place = await fresh();
    const disk = writeDown();
    await writeDurably(join(place, "incoming"), join(place, "named"), [bytes], disk);
    assert.deepEqual(disk.calls, [
      "write incoming",
      "sync incoming",
      "rename named",
      `sync ${basename(place)}`,
    ]);
  });

  it("leaves nothing of a file whose sync failed, and never syncs it again", async () => {
    const place = await fresh();
    const disk = writeDown({ failsSync: (name) => name === "poisoned" });
    await assert.rejects(writeSynced(join(place, "poisoned"), [bytes], disk), { code: "EIO" });
    assert.deepEqual(disk.calls, ["write poisoned", "unlink poisoned"]);
    assert.deepEqual(await readdir(place), []);
  });

  it("leaves nothing of a file that could not get its name, and makes no folder in a file", async () => {
    const place = await fresh();
    await mkdir(join(place, "named"));
    await assert.rejects(writeDurably(join(place, "incoming"), join(place, "named"), [bytes]), {
      code: "EISDIR",
    });
    assert.deepEqual(await readdir(place), ["named"]);
    await writeFile(join(place, "file"), "");
    await assert.rejects(makeFolder(join(place, "file", "in", "it")), { code: "ENOTDIR" });
  });

  it("tells that a name above could not be synced, unless the folder is somebody else's", async () => {
    const place = await fresh();
    for (const [code, expected] of [
      ["EIO", "EIO"],
      ["EACCES", undefined],
    ] as const) {
      const disk: Disk = {
        ...realDisk,
        open: (path, ...rest) =>
          path === place ? Promise.reject(failure(code)) : realDisk.open(path, ...rest),
      };
      const made = makeTopFolder(join(place, code, "b"), disk).then(
        () => undefined,
        (error: { code: string }) => error.code,
      );
      await mkdir(join(place, code), { recursive: true });
      assert.equal(await made, expected);
    }
  });

  it("fails where the folder of a new name cannot be synced", async () => {
    const place = await fresh();
    const disk = writeDown({ failsSync: (name) => name === basename(place) });
    const written = writeDurably(join(place, "incoming"), join(place, "named"), [bytes], disk);
    await assert.rejects(written, { code: "EIO" });
  });

  it("makes files and folders that only their owner can open, under any umask", async () => {
    const place = await fresh();
    const before = process.umask(0);
    try {
      await writeSynced(join(place, "file"), [bytes]);
      await makeFolder(join(place, "a", "b"));
    } finally {
      process.umask(before);
    }
    const mode = async (name: string) => (await lstat(join(place, name))).mode & 0o777;
    assert.deepEqual(
      [await mode("file"), await mode("a"), await mode("a/b")],
      [0o600, 0o700, 0o700],
    );
  });

  it("makes a folder durable in its parent, and one that was there already too", async () => {
    const place = await fresh();
    const disk = writeDown();
    await makeFolder(join(place, "a", "b"), disk);
    await makeFolder(join(place, "a", "b"), disk);
    assert.deepEqual(disk.calls, [
      "mkdir a",
      `sync ${basename(place)}`,
      "mkdir b",
      "sync a",
      "sync a",
    ]);
  });

  it("writes to nothing that is there already: no file, and no symbolic link", async () => {
    const place = await fresh();
    await writeFile(join(place, "precious"), "keep");
    await symlink(join(place, "precious"), join(place, "link"));
    for (const name of ["precious", "link"])
      await assert.rejects(writeSynced(join(place, name), [bytes]), { code: "EEXIST" });
    assert.equal(await readFile(join(place, "precious"), "utf8"), "keep");
    await (await open(join(place, "link"))).close();
  });

  /** A disk that opens no folder but those below `top`, as where the folders above belong to others. */
  const lockedAbove = (top: string, code: string): { disk: Disk; asked: string[] } => {
    const asked: string[] = [];
    const open: Disk["open"] = async (path, flags, mode) => {
      asked.push(path);
      if (path !== top && !path.startsWith(`${top}/`))
        throw Object.assign(new Error("locked"), { code });
      return await realDisk.open(path, flags, mode);
    };
    return { disk: { ...realDisk, open }, asked };
  };

  it("makes the names of folders durable that were there, as far as it may", async () => {
    const place = await fresh();
    const tree = join(place, "a", "b");
    await mkdir(tree, { recursive: true });
    const { disk, asked } = lockedAbove(place, "EACCES");
    await makeTopFolder(tree, disk);
    for (const parent of [join(place, "a"), place, "/"]) assert.ok(asked.includes(parent), parent);
    await assert.rejects(makeTopFolder(tree, lockedAbove(place, "EIO").disk), { code: "EIO" });
    await assert.rejects(makeFolder(join(place, "c"), lockedAbove(tree, "EACCES").disk), {
      code: "EACCES",
    });
  });

  it("takes a content for whole only where it is as long as it says", async () => {
    const content = (length: number) => ({ length, read: () => [bytes, bytes] });
    assert.equal((await gather(partsOf(content(2 * bytes.length)))).length, 2 * bytes.length);
    for (const other of [2 * bytes.length - 1, bytes.length, 2 * bytes.length + 1])
      await assert.rejects(gather(partsOf(content(other))), /as long as it says/);
  });
});

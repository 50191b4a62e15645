import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { closeSync, constants, openSync, readSync } from "node:fs";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { realDisk } from "../../src/stages/disk.ts";

const { O_CREAT, O_NONBLOCK, O_RDONLY, O_RDWR } = constants;

describe("the disk of this machine", () => {
  let folder: string;
  before(async () => (folder = await mkdtemp(join(tmpdir(), "spillway-disk-"))));
  after(() => rm(folder, { recursive: true }));

  it("closes a file when what is under way has ended, and not before", async () => {
    const path = join(folder, "pipe");
    execFileSync("mkfifo", [path]);
    const pipe = await realDisk.open(path, O_RDWR);
    // More than a pipe holds: the write waits for a reader.
    const bytes = new Uint8Array(300_000);
    const order: string[] = [];
    const writing = pipe.write(bytes, 0, bytes.length, null).then(() => order.push("written"));
    const closing = pipe.close().then(() => order.push("closed"));
    await sleep(50);
    assert.deepEqual(order, []);
    const reader = openSync(path, O_RDONLY | O_NONBLOCK);
    for (let left = bytes.length; left > 0; await sleep(1)) {
      try {
        left -= readSync(reader, new Uint8Array(left));
      } catch (error) {
        assert.equal((error as { code?: string }).code, "EAGAIN");
      }
    }
    await Promise.all([writing, closing]);
    closeSync(reader);
    assert.deepEqual(order, ["written", "closed"]);
  });

  it("takes a second close for the first, and asks nothing of a closed file", async () => {
    const file = await realDisk.open(join(folder, "file"), O_CREAT | O_RDWR, 0o600);
    await Promise.all([file.close(), file.close()]);
    await file.close();
    const bytes = new Uint8Array(1);
    await assert.rejects(file.write(bytes, 0, 1, 0));
    await assert.rejects(file.read(bytes, 0, 1, 0));
    await assert.rejects(file.sync());
    await assert.rejects(file.stat());
  });

  it("gives system errors with their codes", async () => {
    await assert.rejects(realDisk.open(join(folder, "gone"), O_RDONLY), { code: "ENOENT" });
    await assert.rejects(realDisk.lstat(join(folder, "gone")), { code: "ENOENT" });
    await assert.rejects(realDisk.unlink(join(folder, "gone")), { code: "ENOENT" });
    const file = await realDisk.open(folder, O_RDONLY);
    await assert.rejects(file.read(new Uint8Array(1), 0, 1, 0), { code: "EISDIR" });
    await file.close();
  });
});

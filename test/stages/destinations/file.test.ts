import assert from "node:assert/strict";
import { mkdir, mkdtemp, readdir, rename, rm, stat, symlink, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { openDestination } from "../../../src/stages/destinations/schemes.ts";
import { realDisk, realWorld, type Disk } from "../../../src/stages/world.ts";
import {
  destinationContract,
  expectError,
  listAll,
  objectOf,
  readAll,
} from "../../contract/destination-contract.ts";

const never = new AbortController().signal;

describe("destination file", () => {
  let base: string;
  const open = () => openDestination(`file://${base}/out/deep`, { timeoutMillis: 5000 });
  const reset = async () => {
    await rm(join(base, "out"), { recursive: true, force: true });
  };

  before(async () => {
    base = await mkdtemp(join(tmpdir(), "spillway-file-"));
  });
  after(() => rm(base, { recursive: true }));

  destinationContract(open, reset);

  it("makes files readable by their owner alone, in folders of the same kind", async () => {
    const destination = await open();
    await destination.put(objectOf("p/r/page", "x"), never);
    const modes = ["out", "out/deep", "out/deep/p", "out/deep/p/r", "out/deep/p/r/page"].map(
      async (path) => (await stat(join(base, path))).mode & 0o777,
    );
    assert.deepEqual(await Promise.all(modes), [0o700, 0o700, 0o700, 0o700, 0o600]);
  });

  it("leaves nothing but the object in its folder, whether it is stored or refused", async () => {
    const destination = await open();
    await destination.put(objectOf("p/r/page", "x"), never);
    await expectError("foreign-object", destination.put(objectOf("p/r/page", "y"), never));
    assert.deepEqual(await readdir(join(base, "out/deep/p/r")), ["page"]);
  });

  it("never lists what a crash left, and removes it with the next put into that folder", async () => {
    await mkdir(join(base, "out/deep/p/r"), { recursive: true });
    await mkdir(join(base, "out/deep/p/other"));
    await writeFile(join(base, "out/deep/p/r/.incoming-dead"), "torn");
    await writeFile(join(base, "out/deep/p/other/.incoming-alive"), "of another run");
    const destination = await open();
    assert.deepEqual(await listAll(destination), []);
    await destination.put(objectOf("p/r/page", "x"), never);
    assert.deepEqual(await readdir(join(base, "out/deep/p/r")), ["page"]);
    assert.deepEqual(await readdir(join(base, "out/deep/p/other")), [".incoming-alive"]);
  });

  it("lets a folder go with its last object, but not with a file that comes in between", async () => {
    const folder = join(base, "out/deep/p/r");
    let comes = false;
    const disk: Disk = {
      ...realDisk,
      async opendir(path) {
        const names = await readdir(path, { withFileTypes: true });
        if (comes) await writeFile(join(folder, "theirs"), "x");
        return (async function* () {
          yield* names;
        })();
      },
    };
    const destination = await openDestination(`file://${base}/out/deep`, {
      timeoutMillis: 5000,
      world: { ...realWorld, disk },
    });
    await destination.put(objectOf("p/r/page", "x"), never);
    comes = true;
    await destination.remove!("p/r/page", never);
    assert.deepEqual(await readdir(folder), ["theirs"]);
    comes = false;
    await destination.remove!("p/r/theirs", never);
    await assert.rejects(stat(folder), { code: "ENOENT" });
  });

  it("follows no symbolic link below its root", async () => {
    await mkdir(join(base, "out/deep/p"), { recursive: true });
    await mkdir(join(base, "elsewhere"), { recursive: true });
    await writeFile(join(base, "elsewhere/secret"), "secret");
    await symlink(join(base, "elsewhere"), join(base, "out/deep/p/r"));
    await symlink(join(base, "elsewhere/secret"), join(base, "out/deep/p/file"));
    const destination = await open();
    await expectError("destination-refused", destination.put(objectOf("p/r/page", "x"), never));
    await expectError("destination-refused", destination.put(objectOf("p/file", "x"), never));
    await expectError("destination-refused", readAll(destination, "p/r/secret"));
    await expectError("destination-refused", readAll(destination, "p/file"));
    await expectError("destination-refused", listAll(destination, "p/r"));
    const told = (await listAll(destination)).map(({ name }) => name);
    assert.deepEqual(told, ["p/file (no file)", "p/r (no file)"]);
    assert.deepEqual(await readdir(join(base, "elsewhere")), ["secret"]);
  });

  it("gives no name below a folder that was swapped for a symbolic link after the first put", async () => {
    const destination = await open();
    await destination.put(objectOf("p/r/one", "1"), never);
    await mkdir(join(base, "trap"));
    await rename(join(base, "out/deep/p/r"), join(base, "out/deep/p/old"));
    await symlink(join(base, "trap"), join(base, "out/deep/p/r"));
    await expectError("destination-refused", destination.put(objectOf("p/r/two", "2"), never));
    assert.deepEqual(await readdir(join(base, "trap")), []);
  });

  it("may have a root that is itself a symbolic link", async () => {
    await mkdir(join(base, "out/real"), { recursive: true });
    await symlink(join(base, "out/real"), join(base, "out/deep"));
    const destination = await open();
    await destination.put(objectOf("p/r/page", "x"), never);
    assert.equal((await readAll(destination, "p/r/page")).toString(), "x");
  });

  it("refuses a root or a folder that is a file", async () => {
    await mkdir(join(base, "out"));
    await writeFile(join(base, "out/deep"), "a file");
    const destination = await open();
    await expectError("destination-refused", destination.put(objectOf("p/r/page", "x"), never));
  });

  it("says that there is no space left, and keeps no torn object", async () => {
    // Every write to this device fails with ENOSPC, as on a full disk.
    const { writeAll } = await import("../../../src/stages/durable-file.ts");
    const { guard } = await import("../../../src/stages/destinations/file-work.ts");
    const { open: openHandle } = await import("node:fs/promises");
    const full = await openHandle("/dev/full", "w");
    try {
      const writing = guard("storing an object", never, () => writeAll(full, Buffer.from("x"), 0));
      const error = await expectError("destination-failed", writing);
      assert.match(error.message, /no space left at the destination/);
      assert.equal(error.retriable, true);
    } finally {
      await full.close();
    }
  });
});

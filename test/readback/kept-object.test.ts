import assert from "node:assert/strict";
import { randomBytes } from "node:crypto";
import { mkdtemp, readdir, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { gather } from "../../src/stages/durable-file.ts";
import { keepObject } from "../../src/readback/kept-object.ts";
import { mountDisk, mountSmallDisk, skipUnmounted } from "../fixtures/small-disk.ts";

const never = new AbortController().signal;
const held = 4 * 2 ** 20;

/** Pieces that lie in the same memory, one after another. */
function* pieces(bytes: Uint8Array, pieceBytes = 100_000) {
  const piece = new Uint8Array(pieceBytes);
  for (let at = 0; at < bytes.length; at += pieceBytes) {
    piece.set(bytes.subarray(at, at + pieceBytes));
    yield piece.subarray(0, bytes.length - at);
  }
}

describe("a kept object", () => {
  const before = process.env["TMPDIR"];
  let folder: string;
  beforeEach(async () => {
    folder = await mkdtemp(join(tmpdir(), "spillway-kept-"));
    process.env["TMPDIR"] = folder;
  });
  afterEach(async () => {
    if (before === undefined) delete process.env["TMPDIR"];
    else process.env["TMPDIR"] = before;
    await rm(folder, { recursive: true });
  });

  it("is read as often as wanted, small or large, and leaves nothing behind", async () => {
    for (const length of [0, 1, held, held + 1, 3 * held + 17]) {
      const bytes = randomBytes(length);
      const kept = await keepObject(pieces(bytes), never);
      assert.deepEqual(await readdir(folder), [], "the file has no name");
      for (let time = 0; time < 2; time += 1) assert.ok(bytes.equals(await gather(kept.read())));
      await kept.close();
      await kept.close();
    }
  });

  it("lets go of its file where the object breaks off", async () => {
    const open = async () => (await readdir("/proc/self/fd")).length;
    const first = await open();
    const breaksOff = (function* () {
      yield randomBytes(2 * held);
      throw new Error("broken off");
    })();
    await assert.rejects(keepObject(breaksOff, never), /broken off/);
    assert.equal(await open(), first);
  });

  it("takes no more than half of the room there is", async function () {
    const shared = join(folder, "shared");
    const disk = await mountDisk(shared, "size=12m");
    if (!disk) skipUnmounted(this);
    try {
      process.env["TMPDIR"] = shared;
      const fits = await keepObject(pieces(randomBytes(5 * 2 ** 20)), never);
      await fits.close();
      let given = 0;
      const endless = (function* () {
        for (; ; given += 2 ** 20) yield randomBytes(2 ** 20);
      })();
      const refused = { code: "disk-full", message: /more than half of the room.*6 MiB.*TMPDIR/ };
      await assert.rejects(keepObject(endless, never), refused);
      assert.ok(given <= 6 * 2 ** 20, `${given}`);
    } finally {
      disk.unmount();
    }
  });

  it("says what to do where there is no folder for it, or no room in it", async function () {
    const keep = () => keepObject(pieces(randomBytes(held + 1)), never);
    process.env["TMPDIR"] = join(folder, "gone");
    await assert.rejects(keep(), { code: "config-invalid", message: /TMPDIR/ });
    const small = join(folder, "small");
    const unmount = await mountSmallDisk(this, small);
    try {
      process.env["TMPDIR"] = small;
      await assert.rejects(keep(), { code: "disk-full", message: /TMPDIR/ });
    } finally {
      unmount();
    }
  });
});

import assert from "node:assert/strict";
import { createHash, randomBytes } from "node:crypto";
import { mkdir, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { describeOwn, readOwn } from "../../src/pipeline/own-files.ts";
import { partsOf, wholeOf } from "../../src/stages/durable-file.ts";
import { realDisk, type Disk } from "../../src/stages/world.ts";
import { useFolder } from "../fixtures/pipelines.ts";

const pieceBytes = 64 * 1024;

describe("a file of the run's own", () => {
  const folder = useFolder();
  const name = "manifest.json";

  async function placeOf(bytes: Uint8Array, disk: Disk = realDisk) {
    const path = folder.next();
    await mkdir(path, { recursive: true });
    await writeFile(join(path, name), bytes);
    return { disk, path };
  }

  it("is read in pieces of bounded size, from the start each time, whatever its length", async () => {
    for (const length of [0, 1, pieceBytes - 1, pieceBytes, pieceBytes + 1, 3 * pieceBytes]) {
      const bytes = randomBytes(length);
      const { bytes: content, sha256 } = await describeOwn(await placeOf(bytes), name);
      assert.equal(content.length, length);
      assert.deepEqual(sha256, createHash("sha256").update(bytes).digest());
      for (let time = 0; time < 2; time += 1) assert.ok(bytes.equals(await wholeOf(content)));
      for await (const part of partsOf(content)) assert.ok(part.length <= pieceBytes);
    }
  });

  it("is whole though the disk gives less than was asked for", async () => {
    const bytes = randomBytes(2 * pieceBytes + 5);
    const open: Disk["open"] = async (...how) => {
      const file = await realDisk.open(...how);
      return {
        read: (into: Uint8Array, at: number, length: number, position: number) =>
          file.read(into, at, Math.min(length, 10_007), position),
        close: () => file.close(),
      } as Awaited<ReturnType<Disk["open"]>>;
    };
    const { bytes: content } = await describeOwn(await placeOf(bytes, { ...realDisk, open }), name);
    assert.ok(bytes.equals(await wholeOf(content)));
  });

  it("is refused at its end where it was changed since its digest was taken", async () => {
    const bytes = randomBytes(pieceBytes + 10);
    const place = await placeOf(bytes);
    const { bytes: content } = await describeOwn(place, name);
    bytes[bytes.length - 1]! ^= 1;
    await writeFile(join(place.path, name), bytes);
    await assert.rejects(wholeOf(content), { code: "integrity-failed", exitCode: 6 });
  });

  it("says so where the disk does not give it", async () => {
    const place = await placeOf(Buffer.from("{}"));
    const reading = Array.fromAsync(readOwn(place, "another")());
    await assert.rejects(reading, { code: "spool-failed" });
  });
});

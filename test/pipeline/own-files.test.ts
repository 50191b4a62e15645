import assert from "node:assert/strict";
import { hash, randomBytes } from "node:crypto";
import { mkdir, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { describeOwn, readOwn, writeOwn } from "../../src/pipeline/own-files.ts";
import { gather, partsOf, wholeOf } from "../../src/stages/durable-file.ts";
import { realDisk, type Disk } from "../../src/stages/world.ts";
import { useFolder } from "../fixtures/pipelines.ts";

const pieceBytes = 64 * 1024;
const hexOf = (bytes: Uint8Array) => hash("sha256", bytes, "hex");

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
      const { bytes: content, sha256 } = await describeOwn(
        await placeOf(bytes),
        name,
        hexOf(bytes),
      );
      assert.equal(content.length, length);
      assert.equal(sha256.toString("hex"), hexOf(bytes));
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
    const place = await placeOf(bytes, { ...realDisk, open });
    const { bytes: content } = await describeOwn(place, name, hexOf(bytes));
    assert.ok(bytes.equals(await wholeOf(content)));
  });

  it("is refused before the last of it is given where it was changed, cut or lengthened", async () => {
    const bytes = randomBytes(2 * pieceBytes + 10);
    const place = await placeOf(bytes);
    const { bytes: content } = await describeOwn(place, name, hexOf(bytes));
    const flipped = Uint8Array.from(bytes);
    flipped[5]! ^= 1;
    const others = [
      flipped,
      bytes.subarray(0, -1),
      bytes.subarray(0, pieceBytes),
      new Uint8Array(0),
    ];
    for (const other of [
      ...others,
      Buffer.concat([bytes, bytes]),
      Buffer.concat([bytes, Buffer.from("x")]),
    ]) {
      await writeFile(join(place.path, name), other);
      let given = 0;
      const reading = (async () => {
        for await (const part of content.read()) given += part.length;
      })();
      await assert.rejects(reading, { code: "integrity-failed", exitCode: 6 });
      assert.ok(given < bytes.length, `${given} bytes were given`);
    }
    await writeFile(join(place.path, name), bytes);
    assert.ok(bytes.equals(await wholeOf(content)));
  });

  it("is refused where it is another one than was made", async () => {
    const place = await placeOf(Buffer.from("{}"));
    await assert.rejects(describeOwn(place, name, hexOf(Buffer.from("[]"))), {
      code: "integrity-failed",
    });
  });

  it("is written as it is read, and its digest told", async () => {
    const place = await placeOf(Buffer.from("old"));
    await mkdir(join(place.path, "incoming"));
    const told = await writeOwn(place, name, [Buffer.from("a"), Buffer.from("b")]);
    assert.equal(told, hexOf(Buffer.from("ab")));
    assert.equal((await gather(readOwn(place, name)())).toString(), "ab");
  });

  it("says so where the disk does not give it", async () => {
    const place = await placeOf(Buffer.from("{}"));
    const reading = Array.fromAsync(readOwn(place, "another")());
    await assert.rejects(reading, { code: "spool-failed" });
  });
});

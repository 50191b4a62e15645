/** Entries of a bundle, read back from a file that may be anybody's. */
import assert from "node:assert/strict";
import { constants } from "node:fs";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { withFile } from "../../../src/pipeline/with-file.ts";
import { entryPieces, readEntry } from "../../../src/stages/destinations/tar-entry.ts";

const blockBytes = 512;
const sizeAt = 124;
const checksumAt = 148;

describe("an entry of a bundle", () => {
  let folder: string;
  before(async () => (folder = await mkdtemp(join(tmpdir(), "spillway-tar-entry-"))));
  after(() => rm(folder, { recursive: true }));

  async function readFirst(bytes: Uint8Array) {
    const path = join(folder, "bundle.tar");
    await writeFile(path, bytes);
    return await withFile(path, constants.O_RDONLY, (file) => readEntry(file, 0, bytes.length));
  }

  async function archive(size?: Buffer): Promise<Buffer> {
    const object = { name: "a", bytes: Buffer.from("hello"), sha256: Buffer.alloc(32, 7) };
    const bytes = Buffer.concat(await Array.fromAsync(entryPieces(object)));
    size?.copy(bytes, sizeAt);
    bytes.fill(" ", checksumAt, checksumAt + 8);
    const sum = bytes.subarray(0, blockBytes).reduce((all, byte) => all + byte, 0);
    bytes.write(`${sum.toString(8).padStart(6, "0")}\0 `, checksumAt, "latin1");
    return bytes;
  }

  it("is where its header says", async () => {
    const entry = await readFirst(await archive());
    const sha256 = "07".repeat(32);
    const place = { start: blockBytes, bytes: 5, next: 2 * blockBytes };
    assert.deepEqual(entry, { name: "a", isFile: true, ...place, sha256 });
  });

  it("is refused with a size that no file has", async () => {
    for (const size of ["80ffffffffffffffffffffff", "fffffffffffffffffffff800"]) {
      const bytes = await archive(Buffer.from(size, "hex"));
      await assert.rejects(readFirst(bytes), { code: "integrity-failed" }, size);
    }
  });
});

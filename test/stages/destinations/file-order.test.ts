/** In what order an object of a folder is stored: when `put` returns, it would survive a power cut. */
import assert from "node:assert/strict";
import { pathToFileURL } from "node:url";
import { readPieces } from "../../../src/stages/destinations/file-work.ts";
import { openFile } from "../../../src/stages/destinations/file.ts";
import { realWorld } from "../../../src/stages/world.ts";
import { objectOf } from "../../contract/destination-contract.ts";
import { useFolder } from "../../fixtures/pipelines.ts";
import { writeDown } from "../../fixtures/written-disk.ts";

const never = new AbortController().signal;

describe("file-order", () => {
  const folder = useFolder();

  it("is written, synced, named without overwriting, and its folder synced", async () => {
    const disk = writeDown();
    const url = pathToFileURL(folder.next());
    const world = { ...realWorld, disk };
    const destination = await openFile(url, { timeoutMillis: 1000, world });
    await destination.put(objectOf("rows/run-1/first", "first"), never);
    disk.calls.splice(0);
    await destination.put(objectOf("rows/run-1/page", "page"), never);
    const kinds = disk.calls.map((call) => call.replace(/(write|sync|unlink) \..*/, "$1 incoming"));
    assert.deepEqual(kinds, [
      "write incoming",
      "sync incoming",
      "link page",
      "unlink incoming",
      "sync run-1",
    ]);
    await destination.close();
  });

  it("is not stored where its folder cannot be synced", async () => {
    let failing = false;
    const disk = writeDown({ failsSync: (name) => failing && name === "run-1" });
    const world = { ...realWorld, disk };
    const destination = await openFile(pathToFileURL(folder.next()), {
      timeoutMillis: 1000,
      world,
    });
    await destination.put(objectOf("rows/run-1/first", "first"), never);
    failing = true;
    await assert.rejects(destination.put(objectOf("rows/run-1/page", "page"), never), {
      code: "destination-failed",
    });
    await destination.close();
  });

  it("is refused when it ends before its length, instead of being given out short", async () => {
    const cut = { read: async () => ({ bytesRead: 0 }) };
    await assert.rejects(Array.fromAsync(readPieces(cut, 0, 10, never)), {
      code: "destination-failed",
      message: /ends after 0 bytes; expected 10/,
    });
  });
});

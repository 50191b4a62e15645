import assert from "node:assert/strict";
import { hash } from "node:crypto";
import { PipelineError, type ErrorCode } from "../../src/errors.ts";
import { provePagesStored } from "../../src/pipeline/commit-proof.ts";
import type { Destination } from "../../src/stages/destinations/destination.ts";
import type { Checkpoint } from "../../src/stages/pages/checkpoint.ts";
import { realDisk } from "../../src/stages/world.ts";
import { never } from "../fixtures/pages.ts";

const place = { disk: realDisk, path: "/nowhere" };
const pages = ["00000000.age", "00000001.age"].map((name) => ({
  name,
  sealedBytes: name.length,
  sealedDigest: hash("sha256", name),
}));

/** Lists the first page, and then says why it goes no further. */
function proving(code: ErrorCode, listed: number) {
  const read: string[] = [];
  const destination: Partial<Destination> = {
    async *list(folder) {
      for (const { name, sealedBytes } of pages.slice(0, listed))
        yield { name: `${folder}/${name}`, bytes: sealedBytes };
      throw new PipelineError(code, "no more of it");
    },
    async *get(name) {
      read.push(name);
      yield Buffer.from(name.split("/").at(-1)!);
    },
  };
  async function* walk() {
    yield* pages as Partial<Checkpoint>[] as Checkpoint[];
  }
  const init = { pages: walk(), destination: destination as Destination, signal: never };
  return { read, proved: provePagesStored(init, place, "p/r/") };
}

describe("the proof that pages are stored", () => {
  it("reads what it may not list", async () => {
    for (const listed of [0, 1]) {
      const { read, proved } = proving("destination-refused", listed);
      await proved;
      assert.deepEqual(
        read,
        pages.slice(listed).map(({ name }) => `p/r/${name}`),
      );
    }
  });

  it("takes a listing that fails for no answer", async () => {
    await assert.rejects(proving("destination-failed", 1).proved, { code: "destination-failed" });
  });
});

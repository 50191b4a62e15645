import assert from "node:assert/strict";
import * as fc from "fast-check";
import type { PageIdentity } from "../../../src/stages/nouns.ts";
import {
  decodeLine,
  decodeTrailer,
  encodeLine,
  encodeTrailer,
  makeCheckpoint,
  replayDigest,
  toDurablePage,
  type Checkpoint,
} from "../../../src/stages/pages/checkpoint.ts";
import { makeSealed, spoolKey as key } from "../../fixtures/pages.ts";
import { sourceEnd } from "../../fixtures/pipelines.ts";

const sealed = Buffer.from("sealed bytes of a page");

/** Reads a checkpoint from a file that exists in memory only. */
const decode = (file: Uint8Array, with_ = key) =>
  decodeTrailer(with_, file.length, async (position, length) =>
    Buffer.from(file.subarray(position, position + length)),
  );

describe("checkpoint", () => {
  let checkpoint: Checkpoint;
  let file: Buffer;
  before(async () => {
    const [page] = await makeSealed(1);
    checkpoint = makeCheckpoint(key, { ...page!, content: sealed });
    file = Buffer.concat([sealed, encodeTrailer(key, checkpoint)]);
  });

  it("comes back from behind the sealed bytes and from its journal line", async () => {
    assert.deepEqual(await decode(file), checkpoint);
    const pages = [checkpoint, { ...checkpoint, page: 1 }];
    const line = encodeLine(key, pages);
    assert.ok(line.endsWith("\n"));
    assert.deepEqual(decodeLine(key, line.slice(0, -1)), pages);
  });

  it("is not believed when any byte of it is changed, cut or added, or when it is of another run", async () => {
    const trailer = file.length - sealed.length;
    for (let at = 0; at < trailer; at += 1) {
      const changed = Buffer.from(file);
      changed[sealed.length + at]! ^= 1;
      assert.equal(await decode(changed), undefined, `byte ${at} of the trailer`);
    }
    for (let length = 0; length < file.length; length += 1)
      assert.equal(await decode(file.subarray(0, length)), undefined, `${length} bytes left`);
    assert.equal(await decode(Buffer.concat([file, Buffer.of(0)])), undefined);
    assert.equal(await decode(Buffer.concat([Buffer.of(0), file])), undefined);
    assert.equal(await decode(file, Buffer.alloc(32, 8)), undefined);
  });

  it("is not believed in a file that is cut while it is read", async () => {
    for (let left = 0; left < file.length; left += 1) {
      const cut = file.subarray(0, left);
      const found = await decodeTrailer(key, file.length, async (position, length) =>
        Buffer.from(cut.subarray(position, position + length)),
      );
      assert.equal(found, undefined, `${left} bytes left`);
    }
  });

  it("is not believed in a line that is changed or cut", () => {
    const line = encodeLine(key, [checkpoint]).slice(0, -1);
    for (let at = 0; at < line.length; at += 1) {
      const other = line[at] === "0" ? "1" : "0";
      assert.equal(decodeLine(key, line.slice(0, at) + other + line.slice(at + 1)), undefined);
      assert.equal(decodeLine(key, line.slice(0, at)), undefined);
    }
    assert.equal(decodeLine(Buffer.alloc(32, 8), line), undefined);
    assert.equal(decodeLine(key, ""), undefined);
  });

  it("never throws on foreign bytes", async () => {
    await fc.assert(
      fc.asyncProperty(fc.uint8Array({ maxLength: 200 }), fc.string(), async (bytes, text) => {
        assert.equal(await decode(bytes), undefined);
        assert.equal(decodeLine(key, text), undefined);
      }),
    );
  });

  it("stays on one line whatever a column is called", () => {
    const columns = [{ name: "a\nb\r\u2028\u2029", type: "text", json: "string" as const }];
    const line = encodeLine(key, [{ ...checkpoint, facts: { columns, end: sourceEnd(1) } }]);
    assert.equal(line.split(/\r?\n|\r|\u2028|\u2029/).length, 2);
    assert.deepEqual(decodeLine(key, line.slice(0, -1))?.[0]?.facts?.columns, columns);
  });

  it("compares pages by what they hold and all before them, not by how they were sealed", async () => {
    const [page] = await makeSealed(1);
    const of = (change: Partial<PageIdentity>) => replayDigest(key, { ...page!, ...change });
    assert.equal(of({}), checkpoint.replay);
    for (const change of [{ chain: "00" }, { total: 9 }, { bytes: 9 }, { final: false }])
      assert.notEqual(of(change), of({}));
    assert.notEqual(replayDigest(Buffer.alloc(32, 8), page!), checkpoint.replay);
  });

  it("tells the next stage neither the replay digest nor the facts", () => {
    const page = toDurablePage(checkpoint);
    assert.deepEqual(Object.keys(page).toSorted(), [
      "bytes",
      "final",
      "name",
      "page",
      "records",
      "sealedBytes",
      "sealedDigest",
      "span",
      "total",
    ]);
    assert.equal(page.name, "00000000.ndjson.zst.age");
  });
});

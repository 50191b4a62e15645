import assert from "node:assert/strict";
import { encodeFrame, decodeFrame, type Codec } from "../../src/workers/frame.ts";
import { freeBuffer } from "../../src/workers/free.ts";
import type { FrameIdentity } from "../../src/workers/identity.ts";

describe("free", () => {
  it("gives memory back that its view owns whole", () => {
    const bytes = new Uint8Array(1000);
    freeBuffer(bytes);
    assert.equal(bytes.length, 0);
  });

  it("leaves memory alone of which its view is only a part, however large it is", () => {
    const all = new Uint8Array(1024 * 1024).fill(7);
    const part = all.subarray(0, 512 * 1024);
    freeBuffer(part);
    assert.deepEqual([part.length, all.length, all.at(-1)], [512 * 1024, 1024 * 1024, 7]);
  });

  it("leaves shared memory and the pool of small buffers alone", () => {
    const shared = new Uint8Array(new SharedArrayBuffer(200_000));
    const small = Buffer.from("small");
    freeBuffer(shared);
    freeBuffer(small);
    assert.deepEqual([shared.length, small.toString()], [200_000, "small"]);
  });

  for (const codec of ["zstd", "gzip"] satisfies Codec[]) {
    it(`gives what ${codec} made in memory that holds nothing else, so that it can be freed`, () => {
      for (const bytes of [10, 5000, 300_000]) {
        const content = new Uint8Array(bytes).map((_, i) => (i * i) % 251);
        const frame = encodeFrame(content, identityOf(bytes), codec, 1);
        const opened = decodeFrame(frame, codec, bytes).content;
        assert.deepEqual(Buffer.from(opened), Buffer.from(content));
        for (const made of [frame, opened]) {
          assert.equal(made.buffer.byteLength, made.byteLength);
          freeBuffer(made);
          assert.equal(made.length, 0);
        }
      }
    });
  }
});

const identityOf = (bytes: number): FrameIdentity => ({
  run: "00000000-0000-0000-0000-000000000000",
  page: 0,
  records: 1,
  total: 1,
  span: "whole",
  bytes,
  chain: "0".repeat(64),
  final: true,
});

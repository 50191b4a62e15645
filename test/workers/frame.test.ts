import assert from "node:assert/strict";
import { randomBytes } from "node:crypto";
import { gzipSync, zstdCompressSync } from "node:zlib";
import { PipelineError } from "../../src/errors.ts";
import { decodeFrame, encodeFrame, encodeIdentity, frameHolds } from "../../src/workers/frame.ts";
import type { FrameIdentity } from "../../src/workers/identity.ts";
import { needTools, runTool } from "../fixtures/stock-tools.ts";

const codecs = ["zstd", "gzip"] as const;

function identityOf(content: Uint8Array): FrameIdentity {
  return {
    run: "20260102T030405Z-abc",
    page: 7,
    records: 3,
    total: 30,
    span: "whole",
    bytes: content.length,
    chain: "ab".repeat(32),
    final: true,
  };
}

const text = Buffer.from('{"id":1,"name":"Ada"}\n'.repeat(50));

const isDamage = (error: unknown) =>
  error instanceof PipelineError && error.code === "integrity-failed";

/** Every frame of the given size, compressible or not, comes back. */
function roundTrip(codec: (typeof codecs)[number], content: Uint8Array): void {
  const identity = identityOf(content);
  const opened = decodeFrame(encodeFrame(content, identity, codec, 1), codec, content.length);
  assert.deepEqual(opened.identity, identity);
  assert.equal(Buffer.compare(opened.content, content), 0);
}

describe("frame", () => {
  for (const codec of codecs) {
    describe(codec, () => {
      it("gives back content of every size class, compressible or not", () => {
        for (const bytes of [0, 1, 255, 256, 65535, 65536, 70000, 1 << 20, 3_000_001]) {
          roundTrip(codec, Buffer.alloc(bytes, "spill"));
          roundTrip(codec, randomBytes(bytes));
        }
      });

      it("reads content from shared memory and leaves it there", () => {
        const shared = new Uint8Array(new SharedArrayBuffer(text.length));
        shared.set(text);
        roundTrip(codec, shared);
        assert.equal(Buffer.compare(shared, text), 0);
      });

      it("holds the page it was made of and no other of the same size, in any bit", () => {
        const frame = encodeFrame(text, identityOf(text), codec, 1);
        assert.ok(frameHolds(text, frame, codec));
        for (let bit = 0; bit < text.length * 8; bit += 41) {
          const other = Uint8Array.from(text);
          other[bit >> 3]! ^= 1 << (bit & 7);
          assert.ok(!frameHolds(other, frame, codec), `bit ${bit}`);
        }
        assert.throws(() => frameHolds(text.subarray(1), frame, codec), isDamage);
      });

      it("gives memory that is owned whole", () => {
        const frame = encodeFrame(text, identityOf(text), codec, 1);
        assert.equal(frame.byteLength, frame.buffer.byteLength);
      });

      it("makes equal frames of equal pages", () => {
        const once = encodeFrame(text, identityOf(text), codec, 1);
        assert.deepEqual(encodeFrame(text, identityOf(text), codec, 1), once);
      });

      it("is restored by the stock tool, which skips the identity", function () {
        needTools(this, codec);
        const frame = encodeFrame(text, identityOf(text), codec, 3);
        assert.deepEqual(runTool(codec, ["-d", "-c"], frame), text);
        assert.ok(Buffer.from(frame).includes(encodeIdentity(identityOf(text))));
      });

      it("refuses every truncation", () => {
        const frame = encodeFrame(text, identityOf(text), codec, 1);
        for (let bytes = 0; bytes < frame.length; bytes += 1) {
          assert.throws(() => decodeFrame(frame.subarray(0, bytes), codec, 1e6), isDamage);
        }
      });

      it("refuses every flipped bit outside the identity", () => {
        const frame = encodeFrame(text, identityOf(text), codec, 1);
        const identityAt = Buffer.from(frame).indexOf("{");
        const identityEnd = identityAt + encodeIdentity(identityOf(text)).length;
        for (let bit = 0; bit < frame.length * 8; bit += 1) {
          if (bit >= identityAt * 8 && bit < identityEnd * 8) continue;
          const flipped = Uint8Array.from(frame);
          flipped[bit >> 3]! ^= 1 << (bit & 7);
          assert.throws(() => decodeFrame(flipped, codec, 1e6), isDamage, `bit ${bit}`);
        }
      });

      it("refuses bytes after the frame, and a second frame", () => {
        const frame = encodeFrame(text, identityOf(text), codec, 1);
        for (const tail of [Buffer.from([0]), frame, gzipSync(text), zstdCompressSync(text)]) {
          assert.throws(() => decodeFrame(Buffer.concat([frame, tail]), codec, 1e6), isDamage);
        }
      });

      it("refuses a page larger than the limit before taking memory for it", () => {
        const bomb = Buffer.alloc(8 << 20);
        const frame = encodeFrame(bomb, identityOf(bomb), codec, 1);
        assert.throws(() => decodeFrame(frame, codec, 1 << 20), /at most 1048576/);
        const lying = encodeFrame(bomb, { ...identityOf(bomb), bytes: 5 }, codec, 1);
        assert.throws(() => decodeFrame(lying, codec, 1 << 20), isDamage);
      });

      it("refuses a frame of another size than its identity states, larger or smaller", () => {
        for (const bytes of [text.length - 1, text.length + 1]) {
          const frame = encodeFrame(text, { ...identityOf(text), bytes }, codec, 1);
          assert.throws(() => decodeFrame(frame, codec, 1 << 20), { code: "integrity-failed" });
        }
      });

      it("refuses an identity in any other spelling", () => {
        const sound = encodeIdentity(identityOf(text));
        const bad = [
          sound.replace("{", "{ "),
          sound.replace('"spillway":1', '"spillway":2'),
          sound.replace('"page":7', '"page":7.0'),
          sound.replace('"page":7', '"page":-7'),
          sound.replace('"page":7', '"page":"7"'),
          sound.replace('"span":"whole"', '"span":"half"'),
          sound.replace('"final":true', '"final":true,"more":1'),
          sound.replace('"records":3', '"records":3,"records":3'),
          sound.replace('"run"', '"__proto__":{"run":1},"run"'),
          sound.slice(0, -1),
          "null",
          "[]",
          // More than any identity needs, though it is one.
          sound.replace("20260102T030405Z-abc", "x".repeat(4096)),
        ];
        const frame = Buffer.from(encodeFrame(text, identityOf(text), codec, 1));
        const at = frame.indexOf(sound);
        for (const spelling of bad) {
          const forged = withIdentity(frame, at, sound.length, spelling, codec);
          assert.throws(() => decodeFrame(forged, codec, 1e6), isDamage, spelling);
        }
      });
    });
  }

  it("leaves content as it is with none, and knows no identity", () => {
    assert.equal(encodeFrame(text, identityOf(text), "none", 1), text);
    assert.deepEqual(decodeFrame(text, "none", text.length), { content: text });
    assert.throws(() => decodeFrame(text, "none", text.length - 1), isDamage);
  });

  it("refuses a zstd frame that stock zstd does not take: too wide a window, too large a block", () => {
    const newlines = Buffer.alloc(200_000, "\n");
    const frame = encodeFrame(newlines, identityOf(newlines), "zstd", 1);
    const withHeader = (descriptor: number[], blocks: number[]) =>
      Buffer.concat([
        frame.subarray(0, zstdAt(frame)),
        Buffer.from([0x28, 0xb5, 0x2f, 0xfd, ...descriptor, 0x40, 0x0d, 0x03, 0, ...blocks]),
        frame.subarray(-4),
      ]);
    const runs = (...sizes: number[]) =>
      sizes.flatMap((size, index) => {
        const head = (size << 3) | 2 | Number(index === sizes.length - 1);
        return [head & 255, (head >> 8) & 255, head >> 16, 10];
      });
    const sound = withHeader([0x84, 0x88], runs(100_000, 100_000));
    assert.deepEqual(Buffer.from(decodeFrame(sound, "zstd", 1e6).content), newlines);
    const wide = withHeader([0x84, 0x89], runs(100_000, 100_000));
    assert.throws(() => decodeFrame(wide, "zstd", 1e6), /window of more than 128 MiB/);
    for (const descriptor of [[0x84, 0x88], [0xa4]]) {
      const large = withHeader(descriptor, runs(200_000));
      assert.throws(() => decodeFrame(large, "zstd", 1e6), /block of more than 128 KiB/);
    }
  });

  it("refuses a gzip member whose deflate stream ends before the trailer", () => {
    const frame = Buffer.from(encodeFrame(text, identityOf(text), "gzip", 1));
    const padded = Buffer.concat([frame.subarray(0, -8), Buffer.from([0]), frame.subarray(-8)]);
    assert.throws(() => decodeFrame(padded, "gzip", 1e6), isDamage);
  });
});

/** Where the zstd frame begins, behind the skippable one. */
const zstdAt = (frame: Uint8Array) => 8 + Buffer.from(frame).readUInt32LE(4);

/** Replaces the identity and mends the lengths around it. */
function withIdentity(
  frame: Buffer,
  at: number,
  length: number,
  text: string,
  codec: string,
): Buffer {
  const before = Buffer.from(frame.subarray(0, at));
  const bytes = Buffer.byteLength(text);
  if (codec === "zstd") before.writeUInt32LE(bytes, 4);
  else {
    before.writeUInt16LE(bytes + 4, 10);
    before.writeUInt16LE(bytes, 14);
  }
  return Buffer.concat([before, Buffer.from(text), frame.subarray(at + length)]);
}

import assert from "node:assert/strict";
import { digestText } from "../../../../src/stages/sources/fhir/digest-text.ts";
import {
  digestAt,
  keyAt,
  takeMachine,
  textAt,
} from "../../../../src/stages/sources/fhir/machine.ts";

describe("the digest of a text", () => {
  it("is SipHash-2-4 of 128 bits, as its authors have it", () => {
    const { exports, memory } = takeMachine();
    const key = Buffer.from(memory.subarray(keyAt, keyAt + 16));
    assert.notDeepEqual(key, Buffer.alloc(16));
    try {
      for (let at = 0; at < 16; at += 1) memory[keyAt + at] = memory[textAt + at] = at;
      const digests = [0, 1, 8, 15].map((bytes) => {
        exports.digest(textAt, textAt + bytes, keyAt, digestAt);
        return memory.toString("hex", digestAt, digestAt + 16);
      });
      assert.deepEqual(digests, [
        "a3817f04ba25a8e66df67214c7550293",
        "da87c1d86b99af44347659119b22fc45",
        "3b62a9ba6258f5610f83e264f31497b4",
        "5493e99933b0a8117e08ec0f97cfc3d9",
      ]);
    } finally {
      memory.set(key, keyAt);
    }
  });

  it("is the same of the same text, however long, and of no other", () => {
    const long = "\u00e9".repeat(100_000);
    const texts = ["", "a", "b", long, `${long}a`, `a${long}`];
    const digestOf = (text: string) => {
      const words = new Uint32Array(3);
      digestText(text, words);
      return words.join(" ");
    };
    const digests = texts.map(digestOf);
    assert.deepEqual(texts.map(digestOf), digests);
    assert.equal(new Set(digests).size, texts.length);
  });
});

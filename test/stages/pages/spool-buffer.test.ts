import assert from "node:assert/strict";
import * as fc from "fast-check";
import { createSpoolBuffer } from "../../../src/stages/pages/spool-buffer.ts";

describe("spool-buffer", () => {
  it("lends pieces that never overlap, and always finds room when it is empty", () => {
    const steps = fc.array(fc.integer({ min: -20, max: 100 }), { maxLength: 300 });
    fc.assert(
      fc.property(steps, (sizes) => {
        const buffer = createSpoolBuffer(100);
        const lent: { piece: Uint8Array; mark: number }[] = [];
        for (const [mark, size] of sizes.entries()) {
          const piece = size > 0 ? buffer.take(size) : undefined;
          if (piece) lent.push({ piece: piece.fill(mark % 251), mark: mark % 251 });
          else if (lent.length > 0) {
            const oldest = lent.shift()!;
            assert.ok(oldest.piece.every((byte) => byte === oldest.mark));
            buffer.giveOldest();
          } else assert.ok(size <= 0, "an empty buffer has room");
        }
        for (const { piece, mark } of lent) assert.ok(piece.every((byte) => byte === mark));
      }),
    );
  });

  it("has room for as much as it is large", () => {
    const buffer = createSpoolBuffer(64);
    for (let i = 0; i < 4; i += 1) assert.equal(buffer.take(16)?.length, 16);
    assert.equal(buffer.take(1), undefined);
    buffer.giveOldest();
    assert.equal(buffer.take(16)?.byteOffset, 0);
    assert.equal(buffer.take(65), undefined, "a larger one waits until it is alone");
    for (let i = 0; i < 4; i += 1) buffer.giveOldest();
    assert.equal(buffer.take(65)?.length, 65);
    assert.equal(buffer.take(1), undefined);
    buffer.giveOldest();
    assert.equal(buffer.take(64)?.length, 64);
  });
});

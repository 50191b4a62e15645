import assert from "node:assert/strict";
import * as fc from "fast-check";
import { createMarks, createRecordBuffer } from "../../../src/stages/formats/record-buffer.ts";

const contentOf = (out: ReturnType<typeof createRecordBuffer>) =>
  Buffer.from(out.view().bytes).toString();
const copied = createMarks("");

describe("record buffer", () => {
  it("holds what was appended, whichever way, and where records end", () => {
    const out = createRecordBuffer();
    out.text("é");
    out.end();
    out.bytes(Buffer.from("ab"));
    out.part("0123456789", 3, 5);
    assert.ok(out.usual("x€", copied, 0x22));
    out.end();
    assert.equal(contentOf(out), 'éab34"x€"');
    assert.deepEqual([...out.view().ends], [2, 12]);
    out.reset();
    assert.equal(contentOf(out), "");
    assert.equal(out.view().ends.length, 0);
  });

  it("appends nothing of a text with a stop, a surrogate or great length", () => {
    const out = createRecordBuffer();
    for (const text of ["ab;", "\u{1f600}", "\ud800", "x".repeat(10_000)])
      assert.equal(out.usual(text, createMarks(";"), 0x22), false);
    assert.equal(contentOf(out), "");
  });

  it("writes a pair for the characters that have one", () => {
    const out = createRecordBuffer();
    assert.ok(out.usual('a"b"', createMarks("", { '"': '""' })));
    assert.equal(contentOf(out), 'a""b""');
  });

  it("grows for any texts, keeps what it has, and forgets it on reset", () => {
    fc.assert(
      fc.property(fc.array(fc.string({ unit: "binary", size: "large" })), (texts) => {
        const out = createRecordBuffer();
        for (let round = 0; round < 2; round += 1) {
          const repeated = texts.map((text) => text.repeat(50).toWellFormed());
          for (const text of repeated) {
            if (!out.usual(text, copied)) out.text(text);
            out.end();
          }
          assert.equal(contentOf(out), repeated.join(""));
          assert.equal(out.view().ends.length, texts.length);
          out.reset();
        }
      }),
      { numRuns: 30 },
    );
  });

  it("takes no more room for a long text than it needs", () => {
    const out = createRecordBuffer();
    out.text("x".repeat(2 ** 20));
    assert.equal(out.view().bytes.buffer.byteLength, 2 ** 20);
  });
});

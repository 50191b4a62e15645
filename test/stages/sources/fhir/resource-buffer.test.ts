import assert from "node:assert/strict";
import { createResourceBuffer } from "../../../../src/stages/sources/fhir/resource-buffer.ts";

describe("the buffer of resources", () => {
  const append = (buffer: ReturnType<typeof createResourceBuffer>, bytes: Uint8Array) =>
    buffer.append(bytes, 0, bytes.length);

  it("keeps whole resources back to back, and forgets the one under way", () => {
    const buffer = createResourceBuffer();
    append(buffer, Buffer.from('{"a":1} \r\n'));
    buffer.trim();
    buffer.keep();
    append(buffer, Buffer.from("half"));
    assert.equal(buffer.begun, 4);
    buffer.drop();
    assert.equal(buffer.begun, 0);
    const { bytes, ends } = buffer.whole();
    assert.equal(Buffer.from(bytes).toString(), '{"a":1}\n');
    assert.deepEqual([...ends], [8]);
  });

  it("grows with many resources and with a large one, which it does not stay as large as", () => {
    const buffer = createResourceBuffer();
    for (let at = 0; at < 1000; at += 1) {
      append(buffer, Buffer.from("{}"));
      buffer.keep();
    }
    assert.equal(buffer.whole().ends.length, 1000);
    assert.equal(buffer.whole().ends[999], 3000);
    append(buffer, Buffer.alloc(5 * 2 ** 20, 0x78));
    buffer.keep();
    assert.ok(buffer.whole().bytes.buffer.byteLength >= 5 * 2 ** 20);
    append(buffer, Buffer.from("rest"));
    buffer.reset();
    assert.equal(Buffer.from(buffer.view()).toString(), "rest");
    assert.equal(buffer.view().buffer.byteLength, 128 * 1024);
    assert.equal(buffer.whole().ends.length, 0);
  });
});

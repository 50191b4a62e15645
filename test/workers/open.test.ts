import assert from "node:assert/strict";
import { generateAgeIdentity, identityToRecipient, sealAge } from "../../src/workers/age.ts";
import { encodeFrame } from "../../src/workers/frame.ts";
import { openPage } from "../../src/workers/open.ts";
import type { Codec } from "../../src/workers/frame.ts";
import type { FrameIdentity } from "../../src/workers/identity.ts";

const content = Buffer.from('{"id":1}\n'.repeat(100));
const page: FrameIdentity = {
  run: "r1",
  page: 0,
  records: 100,
  total: 100,
  span: "whole",
  bytes: content.length,
  chain: "00".repeat(32),
  final: true,
};

describe("open", () => {
  const maxBytes = 1 << 20;

  it("gives records and identity back from every combination of layers", async () => {
    const key = await generateAgeIdentity();
    const to = [await identityToRecipient(key)];
    for (const compress of ["zstd", "gzip", "none"] satisfies Codec[]) {
      for (const encrypt of ["age", "none"] as const) {
        const frame = Uint8Array.from(encodeFrame(content, page, compress, 1));
        const sealed = encrypt === "age" ? (await sealAge(frame, { to })).sealed : frame;
        const opened = await openPage(sealed, {
          compress,
          encrypt,
          identities: { identities: [key] },
          maxBytes,
        });
        assert.equal(Buffer.compare(opened.content, content), 0);
        assert.deepEqual(opened.identity, compress === "none" ? undefined : page);
      }
    }
  });

  it("gives back the memory of what it took over", async () => {
    const large = Buffer.alloc(300_000, "x");
    const sealed = new Uint8Array(encodeFrame(large, { ...page, bytes: large.length }, "none", 1));
    const key = await generateAgeIdentity();
    const aged = (await sealAge(sealed, { to: [await identityToRecipient(key)] })).sealed;
    const how = {
      compress: "none",
      encrypt: "age",
      identities: { identities: [key] },
      maxBytes,
    } as const;
    await openPage(aged, how);
    assert.equal(aged.byteLength, 0);
  });
});

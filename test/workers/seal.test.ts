import assert from "node:assert/strict";
import { hash } from "node:crypto";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { generateAgeIdentity, identityToRecipient } from "../../src/workers/age.ts";
import { openPage } from "../../src/workers/open.ts";
import type { Codec } from "../../src/workers/frame.ts";
import type { FrameIdentity } from "../../src/workers/identity.ts";
import { freeBuffer } from "../../src/workers/free.ts";
import { sealPage, type SealTask } from "../../src/workers/seal.ts";
import { needTools, runTool } from "../fixtures/stock-tools.ts";

/** A page in shared memory, as the lease lends it. */
function pageOf(text: string): Pick<SealTask, "content" | "identity"> {
  const bytes = Buffer.from(text);
  const content = new Uint8Array(new SharedArrayBuffer(bytes.length + 10)).subarray(
    0,
    bytes.length,
  );
  content.set(bytes);
  const identity: FrameIdentity = {
    run: "r1",
    page: 3,
    records: 2,
    total: 9,
    span: "whole",
    bytes: bytes.length,
    chain: "ab".repeat(32),
    final: false,
  };
  return { content, identity };
}

const text = '{"id":1,"name":"Zoë"}\n'.repeat(500);
const codecs: Codec[] = ["zstd", "gzip", "none"];
const maxBytes = 1 << 20;

describe("seal", () => {
  let folder: string;
  let keys: string[];
  let to: string[];
  before(async () => {
    folder = await mkdtemp(join(tmpdir(), "spillway-test-"));
    keys = [await generateAgeIdentity(), await generateAgeIdentity()];
    to = await Promise.all(keys.map(identityToRecipient));
  });
  after(() => rm(folder, { recursive: true, force: true }));

  const opens = (sealed: Uint8Array, compress: Codec, identity: string) =>
    openPage(Uint8Array.from(sealed), {
      compress,
      encrypt: "age",
      identities: { identities: [identity] },
      maxBytes,
    });

  for (const codec of codecs) {
    it(`frames with ${codec} and encrypts in one hop what two hops would open to`, async () => {
      const page = pageOf(text);
      const compress = { codec, level: 1 };
      const fused = await sealPage({ ...page, compress, encrypt: { to } });
      const frame = await sealPage({ ...page, compress });
      const apart = await sealPage({ ...page, content: frame.bytes, encrypt: { to } });
      for (const { bytes } of [fused, apart]) {
        const opened = await opens(bytes, codec, keys[0]!);
        assert.equal(Buffer.from(opened.content).toString(), text);
        assert.deepEqual(opened.identity, codec === "none" ? undefined : page.identity);
      }
      assert.equal(fused.bytes.length, apart.bytes.length);
    });

    it(`gives memory with nothing else in it, whatever the size, with ${codec}`, async () => {
      for (const size of [0, 1, 100, 5000, 300_000]) {
        for (const encrypt of [undefined, { to }]) {
          const task = { ...pageOf("x".repeat(size)), compress: { codec, level: 1 } };
          const { bytes, sealedDigest } = await sealPage({ ...task, ...(encrypt && { encrypt }) });
          assert.ok(bytes.buffer instanceof ArrayBuffer);
          assert.equal(bytes.buffer.byteLength, bytes.length);
          assert.deepEqual(Buffer.from(sealedDigest), hash("sha256", bytes, "buffer"));
        }
      }
    });
  }

  it("opens with each of several keys, alone", async () => {
    const compress = { codec: "zstd", level: 1 } as const;
    const { bytes } = await sealPage({ ...pageOf(text), compress, encrypt: { to } });
    for (const key of keys)
      assert.equal(Buffer.from((await opens(bytes, "zstd", key)).content).toString(), text);
    await assert.rejects(opens(bytes, "zstd", await generateAgeIdentity()), { code: "key-wrong" });
  });

  it("opens with the passphrase it was sealed with", async () => {
    const passphrase = "correct horse battery";
    const compress = { codec: "gzip", level: 1 } as const;
    const { bytes } = await sealPage({ ...pageOf(text), compress, encrypt: { passphrase } });
    const how = { compress: "gzip", encrypt: "age", identities: { passphrase }, maxBytes } as const;
    assert.equal(Buffer.from((await openPage(bytes, how)).content).toString(), text);
  });

  it("seals equal pages to different bytes: every page has a key of its own", async () => {
    const task = {
      ...pageOf(text),
      compress: { codec: "zstd", level: 1 },
      encrypt: { to },
    } as const;
    const [a, b] = [await sealPage(task), await sealPage(task)];
    assert.notDeepEqual(a.sealedDigest, b.sealedDigest);
  });

  it("leaves the page as it was", async () => {
    const page = pageOf(text);
    await sealPage({ ...page, compress: { codec: "zstd", level: 1 }, encrypt: { to } });
    assert.equal(Buffer.from(page.content).toString(), text);
  });

  it("stops where a page does not open to what it is said to be", async () => {
    for (const codec of ["zstd", "gzip"] satisfies Codec[]) {
      const { content, identity } = pageOf(text);
      const task = { content: content.subarray(1), identity, compress: { codec, level: 1 } };
      await assert.rejects(sealPage(task), {
        code: "integrity-failed",
        message: /page 3/,
      });
    }
  });

  it("stops where the page changes while it is sealed", async () => {
    for (const codec of ["zstd", "gzip"] satisfies Codec[]) {
      const { content, identity } = pageOf(text);
      let asked = 0;
      // Asked for once to be written down, then again for the check.
      const changing = {
        ...identity,
        get page() {
          asked += 1;
          if (asked === 2) content[9]! ^= 1;
          return 3;
        },
      };
      const task = { content, identity: changing, compress: { codec, level: 1 } };
      await assert.rejects(sealPage(task), { code: "integrity-failed", message: /same bytes/ });
      assert.ok(asked >= 2);
    }
  });

  it("says when a page was worked on", async () => {
    const { startMillis, endMillis } = await sealPage({
      ...pageOf(text),
      compress: { codec: "none", level: 1 },
    });
    assert.ok(startMillis <= endMillis && Math.abs(endMillis - Date.now()) < 60_000);
  });

  it("opens with stock age and zstd or gzip", async function () {
    needTools(this, "age", "zstd", "gzip");
    const key = join(folder, "key.txt");
    await writeFile(key, `${keys[0]}\n`, { mode: 0o600 });
    for (const [codec, ...restore] of [
      ["zstd", "zstd", "-d"],
      ["gzip", "gzip", "-d"],
    ] as const) {
      const task = { ...pageOf(text), compress: { codec, level: 1 }, encrypt: { to } };
      const frame = runTool("age", ["-d", "-i", key], (await sealPage(task)).bytes);
      assert.equal(runTool(restore[0], [restore[1]], frame).toString(), text);
    }
  });

  for (const codec of codecs) {
    it(`leaves no memory of small pages to the collector, with ${codec}`, async () => {
      const task = { ...pageOf(text), compress: { codec, level: 1 }, encrypt: { to } } as SealTask;
      const before = process.memoryUsage().arrayBuffers;
      let most = before;
      for (let pages = 0; pages < 300; pages += 1) {
        freeBuffer((await sealPage(task)).bytes);
        most = Math.max(most, process.memoryUsage().arrayBuffers);
      }
      assert.ok(most - before < 2 ** 21, `${most - before} bytes wait for it`);
    });
  }

  it("has a worker's garbage collected once its code is loaded, and every so many pages from then on", async () => {
    const { seal } = await import("../../src/workers/seal-worker.ts");
    const task = { ...pageOf("a\n"), compress: { codec: "none", level: 0 } } as SealTask;
    const exposed = globalThis as { gc?: unknown };
    const { gc } = exposed;
    const counts = { "last-resort": 0, minor: 0, plain: 0 };
    exposed.gc = (how?: { flavor?: "last-resort"; type: "minor" }) => {
      counts[how?.flavor ?? how?.type ?? "plain"] += 1;
    };
    try {
      for (let pages = 0; pages < 384; pages += 1) await seal(task);
    } finally {
      if (gc) exposed.gc = gc;
      else delete exposed.gc;
    }
    assert.deepEqual(counts, { "last-resort": 1, minor: 45, plain: 3 });
  });
});

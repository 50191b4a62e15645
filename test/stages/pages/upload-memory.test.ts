import assert from "node:assert/strict";
import { setTimeout as sleep } from "node:timers/promises";
import { createUploadMemory } from "../../../src/stages/pages/upload-memory.ts";
import { never } from "../../fixtures/pages.ts";

const KiB = 1024;

describe("upload-memory", () => {
  it("lends no more than the bound, and goes on when some comes back", async () => {
    const memory = createUploadMemory();
    const first = await memory.take(32 * KiB, 64 * KiB, never);
    await memory.take(32 * KiB, 64 * KiB, never);
    let third: Uint8Array | undefined;
    const waiting = memory.take(32 * KiB, 64 * KiB, never).then((piece) => (third = piece));
    await sleep(5);
    assert.equal(third, undefined);
    memory.give(first);
    assert.equal((await waiting).buffer, first.buffer, "it is used again");
  });

  it("frees what is too small for the next page before it makes more", async () => {
    const memory = createUploadMemory();
    const small = await memory.take(16 * KiB, 64 * KiB, never);
    memory.give(small);
    const large = await memory.take(60 * KiB, 64 * KiB, never);
    assert.deepEqual([small.length, large.length], [0, 64 * KiB]);
  });

  it("lends more than the bound to one who is alone", async () => {
    const memory = createUploadMemory();
    assert.equal((await memory.take(80 * KiB, 16 * KiB, never)).length, 80 * KiB);
  });

  it("ends its wait with the signal", async () => {
    const memory = createUploadMemory();
    await memory.take(1, 1, never);
    const stop = new AbortController();
    const waiting = memory.take(1, 1, stop.signal);
    stop.abort(new Error("stopped"));
    await assert.rejects(waiting, /stopped/);
  });
});

import assert from "node:assert/strict";
import { peakRssBytes } from "../../src/telemetry/peak-memory.ts";

describe("peak memory", () => {
  it("is at least what is resident now, and follows what is touched", () => {
    const before = peakRssBytes();
    assert.ok(before >= process.memoryUsage.rss() * 0.9);
    const touched = Buffer.alloc(64 * 2 ** 20, 1);
    const grown = peakRssBytes();
    assert.ok(touched.length > 0 && grown >= process.memoryUsage.rss() * 0.99);
    assert.ok(grown >= before);
  });
});

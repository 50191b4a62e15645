import assert from "node:assert/strict";
import { nextRunId } from "../../src/pipeline/run-id.ts";

describe("the name of a run", () => {
  const chance = { randomBytes: (bytes: number) => Buffer.alloc(bytes, 0xab) };
  const started = "2026-01-02T03:04:05.678Z";

  it("is when it began, and chance", () =>
    assert.equal(nextRunId(started, "", chance), "20260102T030405678Z-abababab"));

  it("sorts behind the run before, even when the clock went back", () => {
    const before = "20260102T030405999Z-ffffffff";
    assert.equal(nextRunId(started, before, chance), "20260102T030406000Z-abababab");
  });

  it("is its own beside names that are no run's", () =>
    assert.equal(nextRunId(started, "zzz", chance), "20260102T030405678Z-abababab"));
});

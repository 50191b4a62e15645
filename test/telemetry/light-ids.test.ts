/** Ids of `sdk: light`. */
import assert from "node:assert/strict";
import { createIds } from "../../src/telemetry/light-ids.ts";

describe("ids of traces and spans", () => {
  it("are of 32 and 16 hex digits, and never come twice", () => {
    const ids = createIds();
    const traces = Array.from({ length: 3000 }, () => ids.generateTraceId());
    const spans = Array.from({ length: 5000 }, () => ids.generateSpanId());
    assert(traces.every((id) => /^[0-9a-f]{32}$/.test(id)));
    assert(spans.every((id) => /^[0-9a-f]{16}$/.test(id)));
    assert.equal(new Set(traces).size, traces.length);
    assert.equal(new Set(spans).size, spans.length);
  });
});

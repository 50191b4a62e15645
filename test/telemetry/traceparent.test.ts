import assert from "node:assert/strict";
import { formatTraceparent, parseTraceparent } from "../../src/telemetry/traceparent.ts";

const valid = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";

describe("traceparent", () => {
  it("is read and written as the standard's own example", () => {
    const span = parseTraceparent(valid);
    assert.deepEqual(span, {
      traceId: "0af7651916cd43dd8448eb211c80319c",
      spanId: "b7ad6b7169203331",
      traceFlags: 1,
      isRemote: true,
    });
    assert.ok(span);
    assert.equal(formatTraceparent(span), valid);
  });

  it("keeps only the sampled flag", () => {
    assert.equal(parseTraceparent(valid.replace(/01$/, "ff"))?.traceFlags, 1);
    assert.equal(parseTraceparent(valid.replace(/01$/, "fe"))?.traceFlags, 0);
  });

  it("accepts a later version with more fields, and version 00 without them only", () => {
    assert.ok(parseTraceparent(`${valid.replace(/^00/, "cc")}-what-ever`));
    assert.equal(parseTraceparent(`${valid}-what-ever`), undefined);
  });

  it("ignores what is not valid", () => {
    const wrong = [
      undefined,
      "",
      "nonsense",
      valid.toUpperCase(),
      valid.replace(/^00/, "ff"),
      valid.replace("0af7651916cd43dd8448eb211c80319c", "0".repeat(32)),
      valid.replace("b7ad6b7169203331", "0".repeat(16)),
    ];
    for (const text of wrong) assert.equal(parseTraceparent(text), undefined, text);
  });
});

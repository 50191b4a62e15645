/** Records of an export back to rows. */
import assert from "node:assert/strict";
import { parseJsonRecord } from "../../src/readback/parse-record.ts";

describe("a record read back", () => {
  it("keeps every digit, and is a number where a double holds it", () => {
    const text =
      '{"a":1.50,"b":12345678901234567890,"c":1500e-1,"d":-0.0,"e":0.1000000000000000055}';
    const row = parseJsonRecord(text);
    assert.deepEqual([row["a"], row["c"]], [1.5, 150]);
    const printed = '{"a":1.5,"b":12345678901234567890,"c":150,"d":0,"e":0.1000000000000000055}';
    assert.equal(JSON.stringify(row), printed);
  });

  it("is told apart from what is no JSON where it is nested too deep", () => {
    const deep = `{"a":1.50,"b":${"[".repeat(50_000)}${"]".repeat(50_000)}}`;
    assert.throws(() => parseJsonRecord(deep), /a record is nested too deep to be a row here/);
    assert.throws(() => parseJsonRecord(deep.slice(1)), /a record is not JSON/);
  });

  it("takes no longer for the longest number PostgreSQL has than for its digits", () => {
    const started = process.cpuUsage();
    const text = `{"a":1${"0".repeat(131_000)}1}`;
    assert.equal(JSON.stringify(parseJsonRecord(text)), text);
    // A pattern took half a minute.
    assert.ok(process.cpuUsage(started).user < 2_000_000);
  });
});

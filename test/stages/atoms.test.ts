import assert from "node:assert/strict";
import * as fc from "fast-check";
import * as v from "valibot";
import {
  count,
  duration,
  formatBytes,
  formatDuration,
  secret,
  size,
  sizeUnits,
  text,
  timeUnits,
} from "../../src/stages/atoms.ts";

const refuses = (schema: v.GenericSchema, ...values: readonly unknown[]) => {
  for (const value of values)
    assert.equal(v.safeParse(schema, value).success, false, `${JSON.stringify(value)} is taken`);
};

describe("atoms", () => {
  it("reads sizes with a unit, or as whole bytes", () => {
    const sizes: [string | number, number][] = [
      ["1MiB", 2 ** 20],
      ["64KB", 64_000],
      ["1.5 GiB", 1.5 * 2 ** 30],
      [" 4096B ", 4096],
      [4096, 4096],
      ["1TiB", 2 ** 40],
    ];
    for (const [given, bytes] of sizes) assert.equal(v.parse(size, given), bytes);
  });

  it("refuses sizes that are none", () => {
    refuses(
      size,
      "",
      "1",
      "1mib",
      "1 M",
      "-1MiB",
      "1e3B",
      "0B",
      0,
      -1,
      1.5,
      Number.NaN,
      null,
      true,
    );
    refuses(size, "9999999999TiB", 2 ** 53, Number.POSITIVE_INFINITY, "1MiB;", "constructor");
  });

  it("reads durations with a unit, or as whole milliseconds", () => {
    const times: [string | number, number][] = [
      ["250ms", 250],
      ["30s", 30_000],
      ["5m", 300_000],
      ["1.5h", 5_400_000],
      ["2d", 172_800_000],
      [10, 10],
    ];
    for (const [given, millis] of times) assert.equal(v.parse(duration, given), millis);
  });

  it("refuses durations that no timer can wait", () => {
    refuses(duration, "30", "1 week", "0s", 0, "25d", 2 ** 31, "0.1ms", null);
  });

  it("reads every unit as its factor says", () => {
    for (const [units, schema] of [
      [sizeUnits, size],
      [timeUnits, duration],
    ] as const) {
      for (const [unit, factor] of Object.entries(units))
        assert.equal(v.parse(schema, `3${unit}`), 3 * factor);
    }
  });

  it("reads whole numbers from a least one on, texts that are not empty, and marks secrets", () => {
    assert.equal(v.parse(count(2), 2), 2);
    refuses(count(2), 1, 2.5, "2", null);
    refuses(text, "", 1);
    refuses(secret, "", 1);
    assert.equal(v.getMetadata(secret)["secret"], true);
  });

  it("prints bytes for people", () => {
    const bytes: [number, string][] = [
      [0, "0 B"],
      [1023, "1023 B"],
      [1024, "1 KiB"],
      [1536, "1.5 KiB"],
      [2 ** 20, "1 MiB"],
      [150.4 * 2 ** 20, "150 MiB"],
      [2 ** 50, "1024 TiB"],
    ];
    for (const [value, printed] of bytes) assert.equal(formatBytes(value), printed);
  });

  it("prints durations for people, with no 60 where a larger unit begins", () => {
    const times: [number, string][] = [
      [0, "0 ms"],
      [850, "850 ms"],
      [999.7, "1.0 s"],
      [12_345, "12.3 s"],
      [59_999, "1 m 00 s"],
      [245_000, "4 m 05 s"],
      [3_599_999, "1 h 00 m"],
      [7_500_000, "2 h 05 m"],
    ];
    for (const [millis, printed] of times) assert.equal(formatDuration(millis), printed);
    fc.assert(
      fc.property(fc.integer({ min: 0, max: 2 ** 31 }), (millis) => {
        assert.doesNotMatch(formatDuration(millis), /\b(60(\.0)? s|60 m|1000 ms)$/);
      }),
    );
  });
});

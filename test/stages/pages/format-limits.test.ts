import assert from "node:assert/strict";
import type { Column } from "../../../src/stages/nouns.ts";
import { refuseBeyondFormat, refuseLongColumns } from "../../../src/stages/pages/format-limits.ts";

const columnsOf = (count: number): Column[] =>
  Array.from({ length: count }, (_, i) => ({ name: `column ${i}`, type: "text", json: "string" }));

describe("the limits of the format", () => {
  it("refuse the page that it has no number for, and say what to raise", () => {
    refuseBeyondFormat(99_999_999);
    assert.throws(() => refuseBeyondFormat(100_000_000), {
      code: "config-invalid",
      message: /100000000 pages.*raise `chunk.size`/,
    });
  });

  it("refuse columns that no manifest could name, and not as many as one can", () => {
    refuseLongColumns(columnsOf(50_000));
    assert.throws(() => refuseLongColumns(columnsOf(80_000)), {
      code: "config-invalid",
      message: /the 80000 columns take .*room for 3 MiB/,
    });
  });
});

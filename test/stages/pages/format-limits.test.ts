import assert from "node:assert/strict";
import type { Column, RecordBatch } from "../../../src/stages/nouns.ts";
import {
  refuseBeyondFormat,
  refuseForeignEnd,
  refuseForeignRecords,
} from "../../../src/stages/pages/format-limits.ts";
import { recordBatch } from "../../fixtures/pipelines.ts";

const columnsOf = (count: number): Column[] =>
  Array.from({ length: count }, (_, i) => ({ name: `column ${i}`, type: "text", json: "string" }));

const recordsOf = (told: Partial<RecordBatch>) => ({ ...recordBatch([], true), ...told });

describe("the limits of the format", () => {
  it("refuse the page that it has no number for, and say what to raise", () => {
    refuseBeyondFormat(99_999_999);
    assert.throws(() => refuseBeyondFormat(100_000_000), {
      code: "config-invalid",
      message: /100000000 pages.*raise `chunk.size`/,
    });
  });

  it("refuse columns that no manifest could name, and not as many as one can", () => {
    refuseForeignRecords(recordsOf({ columns: columnsOf(50_000) }));
    assert.throws(() => refuseForeignRecords(recordsOf({ columns: columnsOf(80_000) })), {
      code: "config-invalid",
      message: /the 80000 columns take .*room for 3 MiB/,
    });
  });

  it("refuse what a stage of one's own says of records, where no manifest can say it", () => {
    const untyped = [{ name: "id" }] as never;
    for (const [told, path] of [
      [{ columns: untyped }, "columns.0.type"],
      [{ extension: "NDJSON" }, "extension"],
      [{ extension: "" }, "extension"],
    ] as const)
      assert.throws(() => refuseForeignRecords(recordsOf(told)), {
        code: "config-invalid",
        message: `chunk: the \`${path}\` of the records is none that a manifest can hold; expected what docs/format.md says of it`,
      });
  });

  it("refuse an end of a source of one's own that no manifest can tell of, and what is no end at all", () => {
    const end = { rows: 1, consistency: { class: "stream", proof: { a: 1.5 } }, queryDigest: "x" };
    for (const [told, path] of [
      [end, "consistency.proof"],
      ["the end", "end"],
    ] as const)
      assert.throws(() => refuseForeignEnd(told as never, "own"), {
        code: "source-bad-data",
        message: `own: the \`${path}\` it ends with is none that a manifest can hold; expected what docs/format.md says of it`,
      });
  });
});

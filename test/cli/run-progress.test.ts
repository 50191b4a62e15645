import assert from "node:assert/strict";
import { describeProgress } from "../../src/cli/run-progress.ts";
import type { Paint } from "../../src/cli/verb.ts";
import type { Progress } from "../../src/pipeline/summary.ts";

const plain = (text: string) => text;
const paintOf = (width: number): Paint => ({
  width,
  bold: plain,
  dim: plain,
  red: plain,
  green: plain,
  yellow: (text) => `!${text}`,
  cyan: plain,
});

const progress = {
  phase: "exporting",
  rows: 500,
  elapsedMillis: 1000,
  pages: 3,
  pagesUploaded: 2,
  rssBytes: 2 ** 20,
  memoryBudgetBytes: 2 ** 21,
  spoolBytes: 0,
} as unknown as Progress;

const line = (more: Partial<Progress>, width = 120) =>
  describeProgress()({ ...progress, ...more })(paintOf(width)).join(", ");

describe("the progress of a run", () => {
  it("has a share and a time left where the rows are known, and says where they are guessed", () => {
    assert.match(
      line({ expectedRows: 1000, expectedExact: true }),
      /50 %.*500\/1,000 rows.*ETA 1 s/,
    );
    assert.match(line({ expectedRows: 1000 }), /~50 %.*500\/~1,000 rows/);
    assert.match(line({ expectedRows: 500_000 }), /ETA 16 m 39 s/);
  });

  it("counts one row as one, and pages of an earlier attempt as pages", () => {
    assert.match(line({ rows: 1 }), /, 1 row, /);
    assert.match(line({ rows: 1, expectedRows: 1 }), /, 1\/~1 row, /);
    assert.match(line({ pages: 0, pagesUploaded: 7 }), /, 7\/7 pages uploaded/);
  });

  it("is never done before the run is, however few rows were expected", () => {
    const text = line({ expectedRows: 10, expectedExact: true });
    assert.match(text, / 99 %/);
    assert.doesNotMatch(text, /ETA/);
  });

  it("names the phase on a narrow terminal only where there is no share to show", () => {
    assert.doesNotMatch(line({ expectedRows: 1000 }, 80), /exporting/);
    assert.match(line({}, 80), /^exporting, 500 rows/);
    assert.match(line({ expectedRows: 1000 }, 120), /^exporting/);
  });

  it("knows no rate before time has passed, and then that of the last seconds", () => {
    assert.match(line({ elapsedMillis: 0 }), / 0 rows\/s/);
    const describe = describeProgress();
    const at = (rows: number, elapsedMillis: number) =>
      describe({ ...progress, rows, elapsedMillis })(paintOf(120)).join(", ");
    for (const seconds of [1, 2, 3, 4, 5, 6, 7, 8]) at(0, seconds * 1000);
    assert.match(at(6000, 9000), / 1,\d{3} rows\/s/);
  });

  it("shows what the spool holds, and memory above its budget as such", () => {
    assert.match(line({ spoolBytes: 2 ** 20 }), /spool 1 MiB/);
    assert.match(line({ rssBytes: 2 ** 22 }), /!mem 4 MiB of 2 MiB/);
  });
});

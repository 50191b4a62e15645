import assert from "node:assert/strict";
import { runReportText } from "../../src/cli/run-report.ts";
import { plainPaint } from "../fixtures/plain-paint.ts";
import type { RunSummary } from "../../src/pipeline/summary.ts";

const summary = {
  pipeline: "rows",
  runId: "20260102T030405678Z-1f2e3d4c",
  resumedFrom: null,
  rows: 1000,
  pages: 2,
  bytesIn: 4_000_000,
  bytesOut: 1_000_000,
  seconds: 2,
  peakRssBytes: 80 * 2 ** 20,
  memoryBudgetBytes: 96 * 2 ** 20,
  destination: "/exports/rows/20260102T030405678Z-1f2e3d4c",
  consistency: "snapshot",
  signer: "ed25519:abc",
  stages: [],
  rejected: {},
  layers: [],
} as unknown as RunSummary;

const paint = plainPaint(100);

const report = (more: Partial<RunSummary> = {}) => runReportText({ ...summary, ...more }, paint);

describe("the report of a run", () => {
  it("says what was exported, within which memory, and how it is checked", () => {
    const text = report();
    assert.match(text, /1,000 rows committed in/);
    assert.match(text, /\(4\.0 : 1\)/);
    assert.match(text, /80 MiB at peak, budget 96 MiB\n/);
    assert.match(text, /verify +spillway verify \/exports/);
    assert.doesNotMatch(text, /rejected|trace|went on/);
  });

  it("says so where a run went on, left rows out, or took more memory than it was given", () => {
    const more = { resumedFrom: "an earlier one", rejected: { "too-large": 3 }, traceId: "ab12" };
    const text = report({ ...more, peakRssBytes: 100 * 2 ** 20 });
    assert.match(text, /went on where an earlier attempt stopped/);
    assert.match(text, /3 rows: too-large/);
    assert.match(text, /above it, by 4 MiB/);
    assert.match(text, /trace +ab12/);
  });

  it("has no ratio of nothing, and names no files where rows went into a table", () => {
    const text = report({ bytesOut: 0, destination: "postgres://host/db" });
    assert.doesNotMatch(text, / : 1\)|spillway verify/);
  });
});

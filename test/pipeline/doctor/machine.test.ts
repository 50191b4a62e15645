import assert from "node:assert/strict";
import {
  describeBudget,
  describeLimit,
  describeNode,
} from "../../../src/pipeline/doctor/machine.ts";
import { usefulPages } from "../../../src/pipeline/ledger.ts";
import type { PlanReport } from "../../../src/pipeline/plan-types.ts";
import { pageWeight } from "../../../src/stages/pages/chunk.ts";

const MiB = 2 ** 20;
/** What cgroup v1 says when there is no limit. */
const noLimit = 2 ** 63;

describe("what doctor says of the machine", () => {
  it("refuses a container smaller than the budget", () => {
    const found = describeLimit(128 * MiB, 64 * MiB, 60 * MiB);
    assert.deepEqual([found.level, found.code], ["fail", "budget-too-small"]);
    assert.match(found.found, /64 MiB, below `memory` \(128 MiB\)/);
  });

  it("warns when less is free than the budget, and takes no limit for one", () => {
    assert.equal(describeLimit(128 * MiB, noLimit, 100 * MiB).level, "warn");
    assert.match(describeLimit(128 * MiB, noLimit, 900 * MiB).found, /no limit is set/);
    assert.match(describeLimit(128 * MiB, 256 * MiB, 200 * MiB).found, /the limit is 256 MiB/);
    assert.equal(describeLimit(128 * MiB, 0, 900 * MiB).level, "ok");
  });

  it("warns of flags, and of a Node that cannot take ours", () => {
    assert.equal(describeNode("v24", { canRestart: true, hasFlags: false }).level, "ok");
    assert.equal(describeNode("v24", { canRestart: true, hasFlags: true }).level, "warn");
    assert.equal(describeNode("v22", { canRestart: false, hasFlags: false }).level, "warn");
  });

  it("says when the budget does not feed all threads", () => {
    const reportOf = (pages: number) =>
      ({
        memoryBytes: 128 * MiB,
        leaseBytes: pages * pageWeight(MiB),
        pageBytes: MiB,
        threads: 2,
        ledger: [{ name: "all", bytes: 100 * MiB, why: "" }],
      }) as unknown as PlanReport;
    assert.equal(describeBudget(reportOf(usefulPages(2))).level, "ok");
    assert.match(describeBudget(reportOf(usefulPages(2))).found, /28 MiB to spare/);
    assert.equal(describeBudget(reportOf(2)).level, "warn");
  });
});

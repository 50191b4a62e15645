import assert from "node:assert/strict";
import {
  advance,
  assertAcked,
  assertComplete,
  judgeFile,
  judgeLine,
  type Marks,
} from "../../../src/stages/pages/page-states.ts";

const name = (page: number) => `${String(page).padStart(8, "0")}.ndjson.zst.age`;
const whole = (page: number, since = page) => ({ page, name: name(page), since });

describe("page-states", () => {
  const none: Marks = { sealed: 0, durable: 0, acked: 0 };

  it("lets a page take its steps in order, and pages each step", () => {
    let marks = none;
    for (const page of [0, 1]) marks = advance(marks, page, "sealed");
    marks = advance(marks, 0, "durable");
    marks = advance(marks, 0, "acked");
    assert.deepEqual(marks, { sealed: 2, durable: 1, acked: 1 });
    for (const [page, to] of [
      [3, "sealed"],
      [1, "sealed"],
      [0, "durable"],
      [2, "durable"],
      [1, "acked"],
      [0, "acked"],
    ] as const)
      assert.throws(() => advance(marks, page, to), { code: "internal" }, `${page} ${to}`);
  });

  it("lets a file go behind its acknowledgement only", () => {
    assertAcked({ sealed: 3, durable: 3, acked: 1 }, 0);
    assert.throws(() => assertAcked({ sealed: 3, durable: 3, acked: 1 }, 1), { code: "internal" });
  });

  it("lets a manifest name all pages, acknowledged and with the final one", () => {
    assertComplete({ durable: 3, acked: 3 }, 3, true);
    assert.throws(() => assertComplete({ durable: 3, acked: 3 }, 3, false), { code: "internal" });
    assert.throws(() => assertComplete({ durable: 3, acked: 3 }, 2, true), { code: "internal" });
    assert.throws(() => assertComplete({ durable: 3, acked: 2 }, 2, true), { code: "internal" });
  });

  it("judges every file that a crash may leave", () => {
    const marks = { acked: 2, durable: 4 };
    const judge = (name: string, checkpoint: ReturnType<typeof whole> | undefined, last = false) =>
      judgeFile({ name, checkpoint, last }, marks);
    assert.equal(judge("notes.txt", undefined), "put aside");
    assert.equal(judge(name(1), undefined), "remove");
    assert.equal(judge(name(4), whole(4)), "keep");
    assert.equal(judge(name(4), undefined, true), "put aside");
    assert.equal(judge(name(4), undefined), "stop");
    assert.equal(judge(name(6), whole(6, 4)), "remove");
    assert.equal(judge(name(6), whole(6, 3)), "remove");
    assert.equal(judge(name(6), whole(6, 5)), "stop");
    assert.equal(judge(name(4), whole(5)), "stop");
    assert.equal(judge(name(4), { ...whole(4), name: "00000004.csv" }), "stop");
  });

  it("believes the lines of a journal up to a torn last one", () => {
    assert.equal(judgeLine([2, 3], 2, false), "believe");
    assert.equal(judgeLine([3], 2, false), "stop");
    assert.equal(judgeLine([2, 4], 2, false), "stop");
    assert.equal(judgeLine(undefined, 2, false), "cut");
    assert.equal(judgeLine([2], 2, true), "stop");
    assert.equal(judgeLine(undefined, 2, true), "cut", "what is left of it may have a line end");
  });
});

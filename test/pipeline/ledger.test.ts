import assert from "node:assert/strict";
import * as fc from "fast-check";
import { drawLedger, sealThreads, type TelemetryWeight } from "../../src/pipeline/ledger.ts";
import type { PhysicalStage } from "../../src/pipeline/plan-types.ts";
import { PipelineError } from "../../src/errors.ts";
import { pageWeight } from "../../src/stages/pages/chunk.ts";
import { registry } from "../../src/stages/registry.ts";

const MiB = 2 ** 20;

const stage = (name: string, heldBytes: number): PhysicalStage => ({
  name,
  from: [name],
  takes: "rows",
  gives: "rows",
  holds: () => heldBytes,
  open: (_ctx, input) => input,
});

describe("ledger", () => {
  it("never promises more than the budget, and leaves room for two pages at least", () => {
    fc.assert(
      fc.property(
        fc.integer({ min: 1 * MiB, max: 1024 * MiB }),
        fc.integer({ min: 4096, max: 64 * MiB }),
        fc.array(fc.integer({ min: 0, max: 64 * MiB }), { maxLength: 5 }),
        fc.constantFrom<TelemetryWeight>("off", "light", "node"),
        (memory, pageBytes, held, telemetry) => {
          const stages = held.map((bytes, i) => stage(`s${i}`, bytes));
          try {
            const { lines, leaseBytes } = drawLedger(memory, pageBytes, stages, telemetry);
            assert.ok(lines.reduce((sum, { bytes }) => sum + bytes, 0) <= memory);
            assert.ok(leaseBytes >= 2 * pageWeight(pageBytes));
            assert.equal(leaseBytes % pageWeight(pageBytes), 0);
          } catch (error) {
            assert.ok(error instanceof PipelineError && error.code === "budget-too-small");
          }
        },
      ),
    );
  });

  it("has fewer threads rather than refuse a budget that is enough for one", () => {
    const perThread: PhysicalStage = {
      ...stage("seal", 0),
      holds: (_bytes, threads) => threads * MiB,
    };
    const needs = (memory: number) => drawLedger(memory, MiB, [perThread], "off").threads;
    assert.equal(needs(80 * MiB), 1);
    assert.equal(needs(1024 * MiB), sealThreads());
  });

  it("counts the compiler of JavaScript where it is told that rows are small", () => {
    const holds = (name: string, config: object) =>
      registry.get(name)!.holds({ format: "ndjson", ...config }, MiB, 1);
    for (const name of ["ndjson", "json", "csv", "tar", "sqlite", "mysql"]) {
      const usual = holds(name, { maxRecord: MiB });
      assert.ok(usual >= 8 * MiB, name);
      assert.equal(holds(name, { maxRecord: 4096 }), usual, name);
      assert.ok(holds(name, { maxRecord: 2 * MiB }) >= usual + 8 * MiB, name);
    }
    assert.equal(holds("postgres", { batch: 1024 }), holds("postgres", { batch: 64 * 1024 }));
    assert.ok(holds("postgres-copy", {}) >= 8 * MiB);
  });

  it("is monotonous: what fits a budget fits a larger one", () => {
    const fits = (memory: number) => {
      try {
        return drawLedger(memory, MiB, [stage("x", MiB)], "light").leaseBytes;
      } catch {
        return 0;
      }
    };
    let before = 0;
    for (let memory = 32; memory < 256; memory += 4) {
      const lease = fits(memory * MiB);
      assert.ok(lease >= before);
      before = lease;
    }
    assert.ok(before > 0);
  });

  it("lists every stage that holds something, and what the base weighs", () => {
    const { lines } = drawLedger(512 * MiB, MiB, [stage("a", 5), stage("b", 0)], "node");
    assert.deepEqual(
      lines.map(({ name }) => name),
      ["runtime", "workers", "telemetry", "a", "lease"],
    );
    const bare = drawLedger(512 * MiB, MiB, [], "off").lines.map(({ name }) => name);
    assert.deepEqual(bare, ["runtime", "workers", "lease"]);
  });

  it("refuses what cannot fit, naming what holds most, what is needed and the knobs", () => {
    assert.throws(() => drawLedger(64 * MiB, 16 * MiB, [stage("json", 200 * MiB)], "off"), {
      code: "budget-too-small",
      exitCode: 2,
      message:
        /64 MiB is too little.*needs \d+ MiB.*json, 200 MiB.*`memory`.*`chunk\.size` \(now 16 MiB\)/,
    });
  });

  it("says what is needed exactly: that much fits, a byte less does not", () => {
    const draw = (memory: number) => drawLedger(memory, MiB, [stage("x", 3 * MiB)], "light");
    let low = 0;
    let high = 1024 * MiB;
    while (low + 1 < high) {
      const middle = Math.floor((low + high) / 2);
      try {
        draw(middle);
        high = middle;
      } catch {
        low = middle;
      }
    }
    const { lines } = draw(high);
    assert.equal(
      lines.reduce((sum, { bytes }) => sum + bytes, 0),
      high,
    );
  });

  it("names a need that, given, is enough", () => {
    const draw = (mebibytes: number) =>
      drawLedger(mebibytes * MiB, 33_333, [stage("x", 51.23 * MiB)], "off");
    let said = "";
    assert.throws(
      () => draw(64),
      (error: Error) => Boolean((said = error.message)),
    );
    const [, needed] = /needs (\d+) MiB/.exec(said) ?? [];
    assert.doesNotThrow(() => draw(Number(needed)));
    assert.throws(() => draw(Number(needed) - 1));
  });

  it("leaves a core to the main thread and wants four threads at most", () => {
    assert.ok(sealThreads() >= 1 && sealThreads() <= 4);
  });
});

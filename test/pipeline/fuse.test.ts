import assert from "node:assert/strict";
import * as fc from "fast-check";
import { final, flushable, gen, many, none } from "stream-chain";
import { fun } from "stream-chain/fun.js";
import type { Placed } from "../../src/pipeline/define.ts";
import type { Row } from "../../src/stages/nouns.ts";
import { filter } from "../../src/stages/transforms/filter.ts";
import { map } from "../../src/stages/transforms/map.ts";
import { select } from "../../src/stages/transforms/select.ts";
import { createPool, type Pool } from "../../src/workers/pool.ts";
import { countedRows, makePipeline, plainOf, useFolder } from "../fixtures/pipelines.ts";
import { flowThrough } from "./flows.ts";

const dir = "./unused";
const to = "./unused";
const id = (row: Row) => row["id"] as number;

/** Row work of every kind that keeps `id` and `text`, so that any order of them is well formed. */
const works: Readonly<Record<string, () => Placed>> = {
  "keep even": () => filter({ module: (row: Row) => id(row) % 2 === 0 }),
  "drop one": () => filter({ column: "id", not: 7 }),
  "swap columns": () => select(["text", "id"]),
  "add a column": () => (row: Row) => ({ ...row, extra: `${id(row)}!` }),
  "change async": () => async (row: Row) => ({ ...row, text: "short" }),
  "double rows": () => (row: Row) => (id(row) % 3 === 0 ? many([row, row]) : row),
  "drop by null": () => (row: Row) => (id(row) % 5 === 0 ? null : row),
  generate: () =>
    function* (row: Row) {
      yield row;
      if (id(row) % 10 === 0) yield { ...row, id: -id(row) };
    },
  "end early": () => (row: Row) => (id(row) % 4 === 0 ? final({ ...row, text: "final" }) : row),
  "end early in a generator": () =>
    function* (row: Row) {
      yield final({ ...row, text: "final" });
    },
  "hold one back": () => {
    let held: Row | typeof none = none;
    return flushable((row: Row | typeof none) => {
      const given = held;
      held = row;
      return given;
    }) as Placed;
  },
  "map a module": () => map({ module: (row: Row) => ({ ...row, id: id(row) + 1 }) }),
};

describe("fuse", () => {
  const folder = useFolder();
  let pool: Pool;
  before(() => {
    pool = createPool(1);
  });
  after(() => pool.close());

  const flowOf = async (
    rows: readonly Placed[],
    apart: boolean,
    format: "ndjson" | "csv" = "ndjson",
  ) => {
    const source = countedRows({ rows: 60, perBatch: 20 });
    const pipeline = makePipeline({ source, rows, format, dir, to });
    const flowed = await flowThrough(pipeline, { pool, path: folder.next(), apart });
    assert.equal(flowed.error, undefined);
    assert.equal(flowed.lease.inUseBytes, 0);
    return flowed;
  };

  it("makes one stage of row functions side by side, and one of compress and encrypt", async () => {
    const { stages, notes } = await flowOf(
      [works["keep even"]!(), works["swap columns"]!()],
      false,
    );
    assert.deepEqual(stages, [
      "test-source",
      "transform",
      "serialize",
      "chunk",
      "seal",
      "spool",
      "upload",
    ]);
    assert.ok(notes.includes("filter + select run as one stage, `transform`"));
    assert.ok(notes.includes("compress + encrypt run as one stage, `seal`"));
  });

  it("leaves a stage that is alone its name, and all of them when told", async () => {
    const rows = () => [works["keep even"]!()];
    assert.ok((await flowOf(rows(), false)).stages.includes("filter"));
    assert.deepEqual((await flowOf(rows(), true)).stages, [
      "test-source",
      "filter",
      "serialize",
      "chunk",
      "compress",
      "encrypt",
      "spool",
      "upload",
    ]);
  });

  it("gives the same plaintext fused as apart, for any row functions in any order", async () => {
    const names = fc.array(fc.constantFrom(...Object.keys(works)), { minLength: 1, maxLength: 5 });
    const formats = fc.constantFrom("ndjson" as const, "csv" as const);
    await fc.assert(
      fc.asyncProperty(names, formats, async (chosen, format) => {
        // CSV wants all rows alike.
        const used = format === "csv" ? chosen.filter((name) => name !== "add a column") : chosen;
        const fused = await flowOf(
          used.map((name) => works[name]!()),
          false,
          format,
        );
        const apart = await flowOf(
          used.map((name) => works[name]!()),
          true,
          format,
        );
        assert.equal(plainOf(fused.objects), plainOf(apart.objects));
        assert.deepEqual([...fused.objects.keys()], [...apart.objects.keys()]);
        assert.deepEqual(fused.spool.facts, apart.spool.facts);
      }),
      { numRuns: 20 },
    );
  }).timeout(60_000);

  it("lets a value that is final pass over its own stage alone, and not over one that hides something", async () => {
    const early = [
      fun(
        (row: Row) => final(row),
        () => null,
      ),
      gen(
        (row: Row) => final(row),
        () => null,
      ),
    ];
    for (const work of early) {
      const { objects } = await flowOf([work, (row) => ({ id: id(row), text: "hidden" })], false);
      assert.equal(plainOf(objects).match(/hidden/g)?.length, 60);
    }
  });

  it("tells which function failed by the names of those fused", async () => {
    const failing = () => {
      throw new TypeError("secret");
    };
    const source = countedRows({ rows: 3 });
    const rows = [works["keep even"]!(), failing];
    const { error } = await flowThrough(makePipeline({ source, rows, dir, to }), {
      pool,
      path: folder.next(),
    });
    assert.match(String(error), /filter\+map: the function threw TypeError at fuse\.test\.ts/);
  });
});

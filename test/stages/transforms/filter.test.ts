import assert from "node:assert/strict";
import { runInNewContext } from "node:vm";
import { gen, none } from "stream-chain";
import { fun } from "stream-chain/fun.js";
import type { InferOutput } from "valibot";
import type { Row } from "../../../src/stages/nouns.ts";
import { filter } from "../../../src/stages/transforms/filter.ts";
import { checkStageContract, collect, testContext } from "../../contract/stage-contract.ts";
import { documentBatches, sourceEnd, stream } from "../../fixtures/pipelines.ts";

const rows = [
  { id: 1, code: "a", ok: true, gone: null },
  { id: 2, code: "b", ok: false, gone: null },
  { id: 3, code: null, ok: true, gone: "x" },
];

async function keeps(config: InferOutput<typeof filter.config>): Promise<unknown[]> {
  const batches = filter.open(config, testContext(), stream(documentBatches(rows, 2)));
  return (await collect(batches)).flatMap((batch) => batch.rows.map((row) => (row as Row)["id"]));
}

const many = Array.from({ length: 20 }, () => rows).flat();

describe("filter", () => {
  checkStageContract({
    stage: Object.assign({}, filter, { name: "filter", config: filter.config.options[2] }),
    config: () => ({ column: "code", in: ["a", "b"] }),
    required: ["column", "in"],
    wrong: { column: 1, in: "a" },
    makeInput: (pieces) => documentBatches(many, pieces),
    contentOf: (items) => items.flatMap((item) => item.rows.map((row) => JSON.stringify(row))),
    empty: {
      input: () => documentBatches([]),
      check: (items) => assert.deepEqual(items.at(-1)?.end, sourceEnd(0)),
    },
  });

  it("keeps rows by a condition on the text of one column", async () => {
    assert.deepEqual(await keeps({ column: "code", equals: "a" }), [1]);
    assert.deepEqual(await keeps({ column: "id", equals: "2" }), [2]);
    assert.deepEqual(await keeps({ column: "id", equals: 2 }), [2]);
    assert.deepEqual(await keeps({ column: "ok", equals: true }), [1, 3]);
    assert.deepEqual(await keeps({ column: "code", in: ["b", "c"] }), [2]);
    assert.deepEqual(await keeps({ column: "code", in: [] }), []);
  });

  it("compares NULL with nothing but null", async () => {
    assert.deepEqual(await keeps({ column: "code", equals: null }), [3]);
    assert.deepEqual(await keeps({ column: "code", equals: "null" }), []);
    assert.deepEqual(await keeps({ column: "code", not: null }), [1, 2]);
    assert.deepEqual(await keeps({ column: "code", not: "a" }), [2, 3]);
  });

  it("knows numbers beyond what JavaScript counts exactly by every digit", async () => {
    const rows = [{ n: 9007199254740993n }, { n: 9007199254740992n }];
    const config = { column: "n", equals: "9007199254740993" };
    const batches = filter.open(config, testContext(), stream(documentBatches(rows)));
    assert.deepEqual(
      (await collect(batches)).map((batch) => batch.rows),
      [rows.slice(0, 1), []],
    );
  });

  it("keeps rows by a predicate, which may be async", async () => {
    assert.deepEqual(await keeps({ module: (row: Row) => (row["id"] as number) > 1 }), [2, 3]);
    assert.deepEqual(await keeps({ module: async (row: Row) => row["id"] === 2 }), [2]);
    assert.deepEqual(await keeps({ module: () => 0 }), []);
  });

  it("understands what stream-chain drops rows by, promises of others, and functions that were fused", async () => {
    const isWanted = (row: Row) => (row["id"] as number) > 1;
    const others = runInNewContext("Promise") as PromiseConstructor;
    const later = (row: Row) => others.resolve(isWanted(row));
    const orNone = (row: Row) => (isWanted(row) ? row : none);
    for (const module of [orNone, later, fun(orNone), gen(orNone)])
      assert.deepEqual(await keeps({ module }), [2, 3]);
    await assert.rejects(keeps({ module: fun(isWanted) }), { message: /expected a row/ });
  });

  it("passes the proof on when nothing is left", async () => {
    const batches = filter.open(
      { column: "code", equals: "none" },
      testContext(),
      stream(documentBatches(rows, 3)),
    );
    const items = await collect(batches);
    assert.deepEqual(items.at(-1)?.end, sourceEnd(3));
  });

  it("refuses a column that is not there, and a predicate that throws, without quoting a row", async () => {
    await assert.rejects(keeps({ column: "cdoe", equals: "a" }), {
      code: "transform-failed",
      message: /no column "cdoe"/,
    });
    const failing = () => {
      throw new TypeError("secret row value");
    };
    await assert.rejects(keeps({ module: failing }), (error: Error) => {
      assert.match(error.message, /filter: the function threw TypeError at filter\.test\.ts:\d+/);
      assert.doesNotMatch(error.message, /secret/);
      return true;
    });
  });
});

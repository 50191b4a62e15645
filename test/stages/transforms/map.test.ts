import assert from "node:assert/strict";
import { writeFile } from "node:fs/promises";
import { Transform } from "node:stream";
import { setTimeout as sleep } from "node:timers/promises";
import chain, { flushable, gen, many, none } from "stream-chain";
import type { Row, RowBatch } from "../../../src/stages/nouns.ts";
import { map } from "../../../src/stages/transforms/map.ts";
import type { RowWork } from "../../../src/stages/transforms/row-work.ts";
import { checkStageContract, collect, testContext } from "../../contract/stage-contract.ts";
import {
  column,
  documentBatches,
  sourceEnd,
  stream,
  tupleBatches,
  useFolder,
} from "../../fixtures/pipelines.ts";

const rows = Array.from({ length: 30 }, (_, id) => ({ id, name: `row ${id}` }));
const double = (row: Row) => ({ ...row, id: (row["id"] as number) * 2 });
const contentOf = (items: readonly RowBatch[]) =>
  items.flatMap((item) => item.rows.map((row) => JSON.stringify(row)));

/** The rows that `work` makes of `batches`, and the last batch. */
async function run(
  work: RowWork | string,
  batches: readonly RowBatch[] = documentBatches(rows, 3),
) {
  const items = await collect(map.open({ module: work }, testContext(), stream(batches)));
  return { ids: items.flatMap((item) => (item.rows as Row[]).map((row) => row["id"])), items };
}

/** A Transform over rows; a new one for every run, for streams cannot be used twice. */
const doubling = () =>
  new Transform({
    objectMode: true,
    transform: (row: Row, _encoding, done) => done(null, double(row)),
  });

describe("map", () => {
  const folder = useFolder();

  describe("with a function", () => {
    checkStageContract({
      stage: map,
      config: () => ({ module: double }),
      required: ["module"],
      wrong: { module: 7 },
      makeInput: (pieces) => documentBatches(rows, pieces),
      contentOf,
      empty: {
        input: () => documentBatches([]),
        check: (items) => assert.deepEqual(items.at(-1)?.end, sourceEnd(0)),
      },
    });
  });

  it("hears of an abort between rows that take their time", async () => {
    let worked = 0;
    const busy = (row: Row) => {
      const until = performance.now() + 10;
      while (performance.now() < until);
      worked += 1;
      return row;
    };
    const transform = new Transform({
      objectMode: true,
      transform: (row: Row, _encoding, done) => done(null, busy(row)),
    });
    const batch = documentBatches(Array.from({ length: 300 }, (_, id) => ({ id })));
    for (const module of [busy, transform]) {
      worked = 0;
      const stop = new AbortController();
      const reason = new Error("enough");
      const context = testContext({ signal: stop.signal });
      const items = collect(map.open({ module }, context, stream(batch)));
      setImmediate(() => stop.abort(reason));
      await assert.rejects(items, reason);
      assert.ok(worked < 300, `all ${worked} rows were worked on`);
    }
  });

  describe("with a Transform", () => {
    checkStageContract({
      stage: map,
      config: () => ({ module: doubling() }),
      makeInput: (pieces) => documentBatches(rows, pieces),
      contentOf,
      empty: {
        input: () => documentBatches([]),
        check: (items) => assert.deepEqual(items.at(-1)?.end, sourceEnd(0)),
      },
    });
  });

  it("takes a function, an async one, a generator, an async generator and a chain", async () => {
    const doubled = rows.map(({ id }) => 2 * id);
    const works: RowWork[] = [
      double,
      async (row) => (await sleep(0), double(row)),
      function* (row: Row) {
        yield double(row);
      },
      async function* (row: Row) {
        yield double(row);
      },
      chain([double]),
      chain([(row: Row) => row, double]),
      doubling(),
    ];
    for (const work of works) assert.deepEqual((await run(work)).ids, doubled);
  });

  it("drops a row for null, undefined and none, and multiplies it for many", async () => {
    const id = (row: Row) => row["id"] as number;
    assert.deepEqual((await run((row) => (id(row) < 2 ? row : null))).ids, [0, 1]);
    assert.deepEqual((await run((row) => (id(row) < 2 ? row : undefined))).ids, [0, 1]);
    assert.deepEqual((await run((row) => (id(row) < 2 ? row : none))).ids, [0, 1]);
    assert.deepEqual(
      (await run((row) => (id(row) < 2 ? many([row, row]) : null))).ids,
      [0, 0, 1, 1],
    );
  });

  it("takes what a generator gives as it is then, whatever becomes of the object", async () => {
    const works: RowWork[] = [
      function* (row: Row) {
        for (const part of ["a", "b"]) {
          row["id"] = part;
          yield row;
        }
      },
      async function* (row: Row) {
        for (const part of ["a", "b"]) {
          row["id"] = part;
          yield row;
        }
      },
    ];
    for (const work of works) {
      const { ids } = await run(work, documentBatches([{ id: 0 }, { id: 1 }]));
      assert.deepEqual(ids, ["a", "b", "a", "b"]);
    }
  });

  it("hands what a generator gives to the next function as it is where a copy would be another thing", async () => {
    const work = gen(
      async function* (row: Row) {
        yield Buffer.from(row["id"] as string);
        yield new Date(0);
        yield new Map([["id", "of a map"]]);
      },
      (part: Buffer | Date | Map<string, string>) => ({
        id: part instanceof Map ? part.get("id") : part.valueOf().toString(),
      }),
    ) as unknown as RowWork;
    const { ids } = await run(work, documentBatches([{ id: "a text" }]));
    assert.deepEqual(ids, ["a text", "0", "of a map"]);
  });

  it("lets a flushable function gather rows over batches and give the last ones at the end", async () => {
    let parts: Row[] = [];
    const object = (row: Row) => Math.floor((row["id"] as number) / 4);
    const gather = flushable((row: Row | typeof none) => {
      const isNext = parts[0] && (row === none || object(row) !== object(parts[0]));
      const whole = isNext ? { id: parts.map(({ id }) => id).join("+") } : null;
      if (isNext) parts = [];
      if (row !== none) parts.push(row);
      return whole;
    });
    const { ids, items } = await run(gather as RowWork);
    assert.equal(ids.length, 8);
    assert.deepEqual([ids[0], ids[6], ids[7]], ["0+1+2+3", "24+25+26+27", "28+29"]);
    assert.deepEqual(items.at(-1)?.end, sourceEnd(rows.length));
  });

  it("passes the proof on as its source gave it, whatever the work drops", async () => {
    for (const work of [double, () => null, doubling()])
      assert.deepEqual((await run(work)).items.at(-1)?.end, sourceEnd(rows.length));
  });

  it("gives rows of tuples their names; exact texts stay texts", async () => {
    const columns = [
      column("id", "number", "int4"),
      column("big", "number", "int8"),
      column("flag", "boolean", "bool"),
      column("none"),
    ];
    const seen: Row[] = [];
    await run((row) => void seen.push({ ...row }), tupleBatches(columns, [["7", "8", "t", null]]));
    assert.deepEqual(seen, [{ id: 7, big: "8", flag: true, none: null }]);
  });

  it("refuses two columns of one name, which no object can hold", async () => {
    const batches = tupleBatches([column("a"), column("a")], [["1", "2"]]);
    await assert.rejects(run(double, batches), { code: "transform-failed", message: /"a"/ });
  });

  it("refuses what is no row, from a function and from a Transform", async () => {
    const wrong = new Transform({
      objectMode: true,
      transform: (_row, _encoding, done) => done(null, "text"),
    });
    const bytes = new Transform({
      writableObjectMode: true,
      transform: (row, _encoding, done) => done(null, JSON.stringify(row)),
    });
    for (const work of [() => "text", () => [1], wrong, bytes] satisfies RowWork[])
      await assert.rejects(run(work), { code: "transform-failed", message: /expected a row/ });
  });

  it("tells where the work failed and keeps its message back, which may quote a row", async () => {
    const failing = new Transform({
      objectMode: true,
      transform: (_row, _encoding, done) => done(new RangeError("secret")),
    });
    const throwing = () => {
      throw new RangeError("secret");
    };
    for (const work of [throwing, failing] satisfies RowWork[]) {
      await assert.rejects(run(work), (error: Error & { code?: string }) => {
        assert.equal(error.code, "transform-failed");
        assert.match(error.message, /^map: the function threw RangeError at map\.test\.ts:\d+:\d+/);
        assert.doesNotMatch(error.message, /secret/);
        return true;
      });
    }
  });

  it("loads a module's default export, or its only one", async () => {
    const file = `${folder.next()}.mjs`;
    await writeFile(file, "export const twice = (row) => ({ ...row, id: row.id * 2 });");
    assert.deepEqual(
      (await run(file)).ids,
      rows.map(({ id }) => 2 * id),
    );
  });

  it("refuses a module that is not there or exports no work, naming the file", async () => {
    await assert.rejects(run("/nowhere/work.mjs"), {
      code: "config-invalid",
      message: /cannot load \/nowhere\/work\.mjs/,
    });
    const file = `${folder.next()}.mjs`;
    await writeFile(file, "export const a = 1, b = 2;");
    await assert.rejects(run(file), { code: "config-invalid", message: /must export/ });
  });

  for (const name of ["AbortError", "TimeoutError"]) {
    it(`calls an ${name} of the work's own a failure of the work`, async () => {
      const failing = () => {
        throw new DOMException("row 7", name);
      };
      const failingStream = new Transform({
        objectMode: true,
        transform: (_row, _encoding, done) => done(new DOMException("row 7", name)),
      });
      for (const work of [failing, failingStream]) {
        await assert.rejects(run(work), (error: Error & { code?: unknown }) => {
          assert.equal(error.code, "transform-failed");
          assert.doesNotMatch(error.message, /row 7/);
          return true;
        });
      }
    });
  }
});

import assert from "node:assert/strict";
import { existsSync } from "node:fs";
import { sampleRows, type SampleOptions } from "../../src/pipeline/sample.ts";
import { postgres } from "../../src/stages/sources/postgres.ts";
import { filter } from "../../src/stages/transforms/filter.ts";
import { map } from "../../src/stages/transforms/map.ts";
import {
  countedRows,
  makePipeline,
  testEnv,
  useFolder,
  type Parts,
} from "../fixtures/pipelines.ts";
import { sharedPostgres } from "../servers/postgres.ts";

const options: SampleOptions = {
  rows: 100,
  signal: new AbortController().signal,
  log: { info() {}, warn() {} },
  env: testEnv,
};

describe("sampleRows", () => {
  const folder = useFolder();
  const sample = async (parts: Pick<Parts, "source" | "rows">, more = {}) => {
    const [dir, to] = [folder.next(), folder.next()];
    const made = await sampleRows(makePipeline({ ...parts, dir, to }), { ...options, ...more });
    assert(!existsSync(dir) && !existsSync(to), "nothing is written");
    return made;
  };

  it("counts what each row stage reads and keeps, and says how to read less", async () => {
    const { url } = await sharedPostgres();
    const query = "select g as id, g % 4 as kind from generate_series(1, 1000) g";
    const { rows, stages } = await sample({
      source: postgres({ url, query }),
      rows: [
        filter({ column: "kind", equals: 1 }),
        map({ module: (row) => row }),
        filter({ column: "id", in: [1, 5] }),
      ],
    });
    assert.equal(rows, 100);
    assert.deepEqual(
      stages.map(({ name, rowsIn, rowsOut, inQuery }) => [name, rowsIn, rowsOut, inQuery]),
      [
        ["filter", 100, 25, true],
        ["map", 25, 25, false],
        ["filter", 25, 2, false],
      ],
    );
    assert.deepEqual(
      stages.map(({ advice }) => advice?.slice(0, 50)),
      [undefined, undefined, "92 % of the rows are read to be dropped by filter;"],
    );
  });

  it("tells of sources that cannot know before, and of fewer rows than asked for", async () => {
    const rows = [map({ module: (row) => (Number(row["id"]) < 10 ? row : null) })];
    const made = await sample({ source: countedRows({ rows: 40 }), rows });
    assert.equal(made.rows, 40);
    assert.match(made.stages[0]!.advice!, /75 % of the rows are dropped by map, which test-source/);
    const all = await sample({ source: countedRows({ rows: 40 }) });
    assert.deepEqual(all, { rows: 40, stages: [] });
  });
});

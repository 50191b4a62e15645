import assert from "node:assert/strict";
import { existsSync } from "node:fs";
import { mock } from "node:test";
import { fitExponent, scale } from "../../src/pipeline/scale.ts";
import { postgres } from "../../src/stages/sources/postgres.ts";
import { map } from "../../src/stages/transforms/map.ts";
import { countedRows, makePipeline, testEnv, useFolder } from "../fixtures/pipelines.ts";
import { startOtlpReceiver } from "../servers/otlp-receiver.ts";
import { runSql, sharedPostgres } from "../servers/postgres.ts";

describe("fitExponent", () => {
  const sizes = [10, 100, 1000, 10_000];
  const curve = (cost: (rows: number) => number) => fitExponent(sizes, sizes.map(cost));

  it("finds the power, whatever a stage costs before its first row", () => {
    assert.equal(curve((rows) => 0.5 + rows * 1e-5)?.toFixed(2), "1.00");
    assert.equal(curve((rows) => 0.5 + rows ** 2 * 1e-8)?.toFixed(2), "2.00");
    assert(curve((rows) => 0.01 + rows * Math.log(rows) * 1e-5)! < 1.2);
  });

  it("takes what is below noise for nothing", () => {
    assert.equal(
      curve((rows) => 0.002 + rows * 1e-7),
      null,
    );
    assert.equal(fitExponent([10, 100], [0, 1]), null);
    // Nothing to be seen at 1000 rows may have been anything up to noise.
    assert(fitExponent(sizes, [0.001, 0.001, 0.001, 0.03])! < 1.2);
  });
});

describe("scale", () => {
  const folder = useFolder();

  it("names the stage whose work grows with what went before, and touches nothing of the pipeline's", async () => {
    // Time passes in this stage alone, so a busy machine makes no other one slow.
    let now = 1000;
    const clock = mock.method(performance, "now", () => now);
    const slower = map({
      module: (row) => {
        now += Number(row["id"]) / 1000;
        return row;
      },
    });
    const [dir, to] = [folder.next(), folder.next()];
    const source = countedRows({ rows: 30_000 });
    const sizes: number[] = [];
    const report = await scale(makePipeline({ source, rows: [slower], dir, to }), {
      env: testEnv,
      rounds: 1,
      most: 10_000,
      onRun: (rows) => sizes.push(rows),
    }).finally(() => clock.mock.restore());
    assert.deepEqual(sizes, [10, 100, 1000, 10_000]);
    assert.deepEqual(report.sizes, sizes);
    for (const { name, exponent, worseThanLinear, seconds } of report.stages) {
      assert.equal(exponent?.toFixed(1), name === "map" ? "2.0" : undefined, name);
      assert.equal(worseThanLinear, name === "map", name);
      assert.equal(seconds.length, 4);
    }
    assert(!existsSync(dir) && !existsSync(to));
  });

  it("ends with all rows where there are fewer, and tells no collector of its runs", async () => {
    const source = countedRows({ rows: 42 });
    const pipeline = makePipeline({ source, dir: folder.next(), to: folder.next() });
    const receiver = await startOtlpReceiver();
    try {
      const env = { ...testEnv, OTEL_EXPORTER_OTLP_ENDPOINT: receiver.url };
      const report = await scale(pipeline, { env, rounds: 1 });
      assert.deepEqual(report.sizes, [10, 42]);
      assert(report.stages.every(({ exponent }) => exponent === null));
      assert.deepEqual(receiver.requests, []);
    } finally {
      await receiver.close();
    }
  });

  it("reads the same rows in each run, whatever a watermark would leave out of the next one", async () => {
    const { url } = await sharedPostgres();
    await runSql(
      url,
      "create table scale_rows as select g as id from generate_series(1, 150) g",
      "alter table scale_rows add primary key (id)",
    );
    const source = postgres({
      url,
      query: "select * from scale_rows",
      watermark: { column: "id", sealedBy: "a secret" },
    });
    const pipeline = makePipeline({ source, dir: folder.next(), to: folder.next() });
    const report = await scale(pipeline, { env: testEnv, rounds: 2 });
    assert.deepEqual(report.sizes, [10, 100, 150]);
    await runSql(url, "drop table scale_rows");
  });
});

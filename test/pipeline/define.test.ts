import assert from "node:assert/strict";
import { Transform } from "node:stream";
import * as v from "valibot";
import { definePipeline, type Placed } from "../../src/pipeline/define.ts";
import { parsePipeline, printPipeline } from "../../src/pipeline/load.ts";
import { planPipeline } from "../../src/pipeline/plan.ts";
import type { Row } from "../../src/stages/nouns.ts";
import { chunk } from "../../src/stages/pages/chunk.ts";
import { compress } from "../../src/stages/pages/compress.ts";
import { encrypt } from "../../src/stages/pages/encrypt.ts";
import { spool } from "../../src/stages/pages/spool.ts";
import { upload } from "../../src/stages/pages/upload.ts";
import { serialize } from "../../src/stages/formats/serialize.ts";
import { ndjson } from "../../src/stages/sources/ndjson.ts";
import { select } from "../../src/stages/transforms/select.ts";
import { defineStage } from "../../src/stages/stage.ts";
import { countedRows, defineUnchecked, testEnv } from "../fixtures/pipelines.ts";

const ends = [
  serialize("ndjson"),
  chunk("1MiB"),
  compress({ codec: "zstd", level: 3 }),
  encrypt("none"),
  spool({ dir: "./spool", maxBytes: "1GiB" }),
  upload("./out"),
] as const;

describe("define", () => {
  it("makes the spec that YAML makes, with what a bare scalar means left as written", () => {
    const { spec } = definePipeline({
      name: "observations",
      memory: "96MiB",
      stages: [ndjson("in.ndjson"), select(["id"]), ...ends],
    });
    assert.deepEqual(spec, {
      name: "observations",
      memory: "96MiB",
      stages: [
        { ndjson: "in.ndjson" },
        { select: ["id"] },
        { serialize: "ndjson" },
        { chunk: "1MiB" },
        { compress: { codec: "zstd", level: 3 } },
        { encrypt: "none" },
        { spool: { dir: "./spool", maxBytes: "1GiB" } },
        { upload: "./out" },
      ],
    });
    assert.deepEqual(parsePipeline(printPipeline(spec), "x.yaml").spec, spec);
  });

  it("plans the same from code and from YAML", async () => {
    const code = definePipeline({ name: "x", memory: "256MiB", stages: [ndjson("in"), ...ends] });
    const yaml = parsePipeline(printPipeline(code.spec), "x.yaml");
    const options = { resolve: "none", env: testEnv } as const;
    assert.deepEqual(
      (await planPipeline(yaml, options)).report,
      (await planPipeline(code, options)).report,
    );
  });

  it("knows stages that are not spillway's own by their name", async () => {
    const pipeline = definePipeline({
      name: "x",
      memory: "256MiB",
      stages: [countedRows({ rows: 1 }) as ReturnType<typeof ndjson>, ...ends],
    });
    const { report } = await planPipeline(pipeline, { resolve: "full", env: testEnv });
    assert.equal(report.stages[0]?.name, "test-source");
  });

  it("takes row work in the place of map: functions and streams alike", async () => {
    const pipeline = definePipeline({
      name: "x",
      memory: "256MiB",
      stages: [ndjson("in"), (row: Row) => row, new Transform({ objectMode: true }), ...ends],
    });
    const { stages } = (await planPipeline(pipeline, { resolve: "full", env: testEnv })).report;
    assert.deepEqual(stages[1]?.from, ["map", "map"]);
  });

  const passing = (name: string) =>
    defineStage({
      name,
      summary: "Passes on.",
      config: v.strictObject({}),
      takes: "rows",
      gives: "rows",
      holds: () => 0,
      async *open(_config, _ctx, input) {
        yield* input;
      },
    });
  const withRows = (...rows: readonly Placed[]) =>
    defineUnchecked({ name: "x", memory: "256MiB", stages: [ndjson("in"), ...rows, ...ends] });

  it("refuses two different stages of one name, and takes one stage twice", () => {
    const twice = passing("pass");
    assert.equal(withRows(twice({}), twice({})).spec.stages.length, ends.length + 3);
    assert.throws(() => withRows(twice({}), passing("pass")({})), {
      code: "config-invalid",
      message: /two different stages have the name `pass`/,
    });
  });

  it("refuses a stage of one's own under the name of spillway's", () => {
    for (const name of ["compress", "serialize", "map"]) {
      assert.throws(() => withRows(passing(name)({})), {
        code: "config-invalid",
        message: new RegExp(`the name of spillway's \`${name}\`; give it another name`),
      });
    }
  });
});

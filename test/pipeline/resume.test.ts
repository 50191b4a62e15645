/** What a plan says of resume, and when it refuses one by key. */
import assert from "node:assert/strict";
import * as v from "valibot";
import type { Placed } from "../../src/pipeline/define.ts";
import { planPipeline } from "../../src/pipeline/plan.ts";
import { csv } from "../../src/stages/sources/csv.ts";
import { postgres } from "../../src/stages/sources/postgres.ts";
import { defineStage } from "../../src/stages/stage.ts";
import { makePipeline, testEnv } from "../fixtures/pipelines.ts";

const url = "postgres://user:secret@localhost/base";
const query = "select * from observation";
const byKey = { url, query, key: ["id"], resume: "epochs" };

async function noteOn(
  source: Placed,
  rows: readonly Placed[] = [],
  format: "ndjson" | "parquet" = "ndjson",
): Promise<string> {
  const parts = { source: source as never, rows, format, dir: "spool", to: "out" };
  const pipeline = makePipeline(parts);
  const { report } = await planPipeline(pipeline, { resolve: "none", env: testEnv });
  return report.notes.find((note) => note.includes("an interrupted run")) ?? "";
}

const given = (config: object) => postgres(config as never);

const refuses = (config: object, message: RegExp, rows: readonly Placed[] = []) =>
  assert.rejects(noteOn(given(config), rows), { code: "config-invalid", message });

describe("the plan's word on resume", () => {
  it("is proof, unless another is wanted, with what would be needed for that", async () => {
    assert.match(
      await noteOn(given({ url, query })),
      /reads postgres again from the start, .*; with a `key` and `resume: epochs` it would/,
    );
    assert.match(
      await noteOn(given({ url, query, key: ["id"] })),
      /; with `resume: epochs` it would/,
    );
    assert.match(await noteOn(csv({ path: "rows.csv" })), /reads csv again .* must come again$/);
  });

  it("proposes no key where there could be none", async () => {
    const watermark = { column: "changed_at", tiebreak: "id" };
    for (const note of [
      await noteOn(given({ url, query, watermark })),
      await noteOn(given({ url, query, key: ["id"] }), [], "parquet"),
    ])
      assert.match(note, /reads postgres again .* must come again$/);
  });

  it("is by key where that is wanted, with what it costs", async () => {
    const note = await noteOn(given(byKey));
    assert.match(
      note,
      /in the order of id, as objects of JavaScript; .* its manifest then says `epochs`/,
    );
    assert.match(
      await noteOn(given({ ...byKey, url: "${env:DATABASE_URL}" })),
      /in a new snapshot/,
    );
  });

  it("is a refusal where it cannot be by key", async () => {
    await refuses({ url, query, resume: "epochs" }, /needs `key`/);
    await refuses({ ...byKey, key: [] }, /at least one column/);
    await refuses(
      { ...byKey, url: "postgres://user@localhost/base" },
      /sealed by the password of `url`/,
    );
    await assert.rejects(noteOn(given(byKey), [], "parquet"), {
      code: "config-invalid",
      message: /cannot add to a Parquet file/,
    });
    const own = defineStage({
      name: "own",
      summary: "A stage of one's own.",
      config: v.strictObject({}),
      takes: "rows",
      gives: "rows",
      holds: () => 0,
      open: (_config, _ctx, input) => input,
    });
    await refuses(byKey, /cannot follow rows through the stage `own`/, [own({})]);
  });
});

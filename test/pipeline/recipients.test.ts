import assert from "node:assert/strict";
import { parsePipeline } from "../../src/pipeline/load.ts";
import { planPipeline } from "../../src/pipeline/plan.ts";
import { countedRows, makePipeline, testEnv } from "../fixtures/pipelines.ts";

const key = "age1yeznxjjp7n4hz27d4gkwad7wrdulpfxm64f62ac5nc07npm84cgq3tzux6";
const wrong = key.replace("yez", "yze");

describe("recipients", () => {
  const plan = (to: string | readonly string[], resolve: "full" | "none", env = {}) =>
    planPipeline(
      makePipeline({ source: countedRows({ rows: 1 }), encrypt: { to }, dir: "./s", to: "./o" }),
      { resolve, env: { ...testEnv, ...env } },
    );
  const refused = {
    code: "config-invalid",
    message: /^encrypt: public key 2 of `to` is not right: (?!.*age1).*checksum/,
  };

  it("are refused with one letter wrong, by their place and not by their text", async () => {
    await plan([key, key], "full");
    await assert.rejects(plan([key, wrong], "full"), refused);
    await assert.rejects(plan([key, wrong], "none"), refused);
  });

  it("are told with their line and column where they stand in a file", async () => {
    const lines = [
      "name: x",
      "stages:",
      "  - ndjson: rows.ndjson",
      "  - serialize: ndjson",
      "  - chunk",
      "  - compress: zstd",
      `  - encrypt: { to: [${key}, ${wrong}] }`,
      "  - spool",
      "  - upload: ./out",
    ];
    const pipeline = parsePipeline(lines.join("\n"), "x.yaml");
    await assert.rejects(planPipeline(pipeline, { resolve: "none", env: testEnv }), {
      code: "config-invalid",
      message: /^x\.yaml:7:85: encrypt: public key 2 of `to` is not right/,
    });
  });

  it("may be references, which are looked at once they are resolved", async () => {
    await plan([key, "${env:READER}"], "none");
    await plan([key, "${env:READER}"], "full", { READER: key });
    await assert.rejects(plan([key, "${env:READER}"], "full", { READER: wrong }), refused);
  });

  it("are understood where one text is a reference and more", async () => {
    await plan("${env:READER}nts6hv", "none");
    await plan("${env:READER}tzux6", "full", { READER: key.slice(0, -5) });
    await assert.rejects(plan("${env:READER}tzux6", "full", { READER: wrong.slice(0, -5) }), {
      code: "config-invalid",
    });
  });
});

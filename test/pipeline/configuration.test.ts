/** docs/configuration.md is true: its examples are accepted, its mistakes print what it says they print. */
import assert from "node:assert/strict";
import { readFile } from "node:fs/promises";
import { parsePipeline } from "../../src/pipeline/load.ts";
import { resolveSpec, validateSpec } from "../../src/pipeline/validate.ts";
import { PipelineError } from "../../src/errors.ts";
import { registry } from "../../src/stages/registry.ts";

/** What `check`, and then `run` without an environment, say of a file; nothing when they accept it. */
async function tell(yaml: string, isRun: boolean): Promise<string | undefined> {
  try {
    const { spec, locate, baseDir } = parsePipeline(yaml, "export.yaml");
    validateSpec(spec, registry, { resolve: "none", locate });
    if (isRun) await resolveSpec(spec, registry, { env: {}, baseDir, locate });
  } catch (error) {
    assert.ok(error instanceof PipelineError, String(error));
    return error.message;
  }
  return undefined;
}

describe("docs/configuration.md", () => {
  it("has examples that are accepted and mistakes that print what it says", async () => {
    const page = await readFile(new URL("../../docs/configuration.md", import.meta.url), "utf8");
    const blocks = page.matchAll(/```yaml\n(.*?)```\n(?:\n```text\n(.*?)\n?```)?/gs);
    let mistakes = 0;
    for (const [, yaml = "", printed] of blocks) {
      assert.equal(await tell(yaml, printed !== undefined), printed, yaml);
      if (printed !== undefined) mistakes += 1;
    }
    assert.equal(mistakes, 4);
  });
});

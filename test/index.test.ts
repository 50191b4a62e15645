import assert from "node:assert/strict";
import * as door from "../src/index.ts";
import { registry } from "../src/stages/registry.ts";

describe("the public door", () => {
  it("has every stage of the registry by its name", () => {
    const exported = new Map<string, unknown>(Object.entries(door));
    for (const [name, stage] of registry) {
      const inCode = name.replace(/-(\w)/g, (_, letter: string) => letter.toUpperCase());
      assert.equal(exported.get(inCode), stage, name);
    }
  });

  it("has what is needed to define, run and read back", () => {
    const { definePipeline, loadPipeline, plan, run, defineStage, defineTransform } = door;
    const { readExport, readPages, verifyExport, restoreExport, listExports } = door;
    const making = [definePipeline, loadPipeline, plan, run, defineStage, defineTransform];
    const reading = [readExport, readPages, verifyExport, restoreExport, listExports];
    for (const named of [...making, ...reading]) assert.equal(typeof named, "function");
    assert.equal(new door.PipelineError("stopped", "x").exitCode, 75);
  });
});

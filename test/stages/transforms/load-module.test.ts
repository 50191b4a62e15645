import assert from "node:assert/strict";
import { mkdir, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { importModule, loadRowWork } from "../../../src/stages/transforms/load-module.ts";
import { useFolder } from "../../fixtures/pipelines.ts";

describe("a module of row work", () => {
  const folder = useFolder();
  let count = 0;
  const write = async (text: string, extension = "mjs") => {
    const path = join(folder.path, `${(count += 1)}.${extension}`);
    await mkdir(folder.path, { recursive: true });
    await writeFile(path, text);
    return path;
  };

  it("gives its default export, or its only one", async () => {
    const work = await loadRowWork(await write("export const once = (row) => row;"), "map");
    assert.deepEqual((work as (row: object) => object)({ id: 1 }), { id: 1 });
    const two = await write("export const one = (row) => row; export const two = one;");
    await assert.rejects(loadRowWork(two, "map"), {
      code: "config-invalid",
      message: /^map: \S+ must export a function/,
    });
  });

  it("begins anew each time: what a run that failed left in it is no other run's", async () => {
    for (const path of [
      await write("const held = []; export default (id) => held.push(id);"),
      await write("const held = []; module.exports = (id) => held.push(id);", "cjs"),
    ]) {
      const counts: number[] = [];
      for (const id of [1, 2, 3]) {
        const { default: work } = await importModule(path, "map");
        counts.push((work as (id: number) => number)(id));
      }
      assert.deepEqual(counts, [1, 1, 1], path);
    }
  });

  it("that cannot be loaded is told by what Node says of it, and never by what it threw", async () => {
    for (const [text, message] of [
      ["throw 'Jane Doe';", /: it threw string$/],
      ["throw new RangeError('Jane Doe');", /: it threw RangeError; its message is kept back/],
      ["export default row => {", /: Unexpected end of input$/],
      ["import 'node:nothing';", /: No such built-in module: node:nothing$/],
    ] as const) {
      const path = await write(text);
      await assert.rejects(importModule(path, "map"), { code: "config-invalid", message });
    }
    const missing = importModule(join(folder.path, "missing.mjs"), "map");
    await assert.rejects(missing, { code: "config-invalid", message: /Cannot find module/ });
  });
});

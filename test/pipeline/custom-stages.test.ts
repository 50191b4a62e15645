import assert from "node:assert/strict";
import { mkdir, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { pathToFileURL } from "node:url";
import { loadCustomStages } from "../../src/pipeline/custom-stages.ts";
import { parsePipeline } from "../../src/pipeline/load.ts";
import { run } from "../../src/pipeline/run.ts";
import { plainOf, readPageFiles, testEnv, useFolder } from "../fixtures/pipelines.ts";

const stageModule = new URL("../../src/stages/stage.ts", import.meta.url).href;
const valibot = import.meta.resolve("valibot");

describe("custom-stages", () => {
  const folder = useFolder();
  before(async () => {
    const write = (name: string, text: string) => writeFile(join(folder.path, name), text);
    await write("twice.mjs", "export default (row) => ({ ...row, id: row.id * 2 });");
    await write("nothing.mjs", "export default 7;");
    await write("broken.mjs", "export default (");
    await write("throws.mjs", 'throw new Error("Ada");');
    await write("parses.mjs", "JSON.parse('Ada');");
    await write(
      "three.mjs",
      `import { defineStage } from ${JSON.stringify(stageModule)};
       import * as v from ${JSON.stringify(valibot)};
       export default defineStage({
         name: "three", summary: "Three rows.", takes: "nothing", gives: "rows", holds: () => 0,
         config: v.strictObject({ from: v.pipe(v.number(), v.description("first id")) }),
         shorthand: "from",
         async *open({ from }) {
           const rows = [0, 1, 2].map((i) => ({ id: from + i }));
           const consistency = { class: "stream", proof: {} };
           const end = { rows: 3, consistency, queryDigest: "0".repeat(64) };
           yield { shape: "documents", columns: [], rows, bytes: 100, end };
         },
       });`,
    );
  });

  const load = (...names: readonly string[]) =>
    loadCustomStages({ name: "x", stages: names.map((name) => ({ [name]: {} })) }, folder.path);

  it("loads stages and row work by the path of their module, under that path", async () => {
    const stages = await load("./three.mjs", "./twice.mjs", "serialize");
    assert.deepEqual([...stages.keys()], ["./three.mjs", "./twice.mjs"]);
    const kinds = [...stages.values()].map(({ name, takes, gives }) => [name, takes, gives]);
    assert.deepEqual(kinds, [
      ["./three.mjs", "nothing", "rows"],
      ["./twice.mjs", "rows", "rows"],
    ]);
  });

  it("refuses a module that is not there, is broken or exports no stage, by its path", async () => {
    for (const name of ["./nowhere.mjs", "./broken.mjs", "./nothing.mjs"]) {
      await assert.rejects(load(name), (error: { code?: string; message: string }) => {
        assert.equal(error.code, "config-invalid");
        assert.ok(error.message.startsWith(`${name}:`), error.message);
        return true;
      });
    }
  });

  it("says what Node says of a module, and nothing of what the module threw", async () => {
    const told = (name: string) =>
      load(name).then(
        () => "",
        (error: Error) => error.message,
      );
    assert.match(await told("./nowhere.mjs"), /Cannot find module/);
    assert.match(await told("./broken.mjs"), /Unexpected end of input/);
    assert.match(await told("./throws.mjs"), /it threw Error; its message is kept back/);
    assert.match(await told("./parses.mjs"), /it threw SyntaxError; its message is kept back/);
    for (const name of ["./throws.mjs", "./parses.mjs"])
      assert.doesNotMatch(await told(name), /Ada/);
  });

  it("runs in a pipeline from YAML, with and without a config, fused with others or alone", async () => {
    for (const more of [[], ["  - select: [id]"]]) {
      const path = folder.next();
      await mkdir(path);
      const text = [
        "name: custom",
        "memory: 256MiB",
        "sign: ${env:SIGN_KEY}",
        "stages:",
        "  - ./three.mjs: 5",
        "  - ./twice.mjs: {}",
        ...more,
        "  - serialize: ndjson",
        "  - chunk: 4KiB",
        "  - compress: zstd",
        "  - encrypt: none",
        `  - spool: ${path}/spool`,
        `  - upload: ${path}/out`,
      ].join("\n");
      const pipeline = parsePipeline(text, join(folder.path, "x.yaml"));
      const { destination } = await run(pipeline, { env: testEnv });
      const pages = await readPageFiles(new URL(destination).pathname);
      assert.equal(plainOf(pages), '{"id":10}\n{"id":12}\n{"id":14}\n');
      assert.ok(destination.startsWith(pathToFileURL(path).href));
    }
  });
});

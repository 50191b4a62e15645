/** Files made to exhaust or to confuse: refused within little memory, and nothing of them is left in the program. */
import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { generateKeyPairSync } from "node:crypto";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { parsePipeline } from "../../src/pipeline/load.ts";
import { planPipeline } from "../../src/pipeline/plan.ts";
import { run } from "../../src/pipeline/run.ts";
import { PipelineError } from "../../src/errors.ts";
import { nonsense } from "./nonsense.ts";

const loader = new URL("../../src/pipeline/load.ts", import.meta.url).href;
/** What a young and an old heap may grow to, with the modules in them. */
const heapMegabytes = 64;

const bombs: readonly (readonly [what: string, text: string])[] = [
  ...nonsense.map(([what, text]) => [what, text] as const),
  ["a megabyte of aliases", `a: &a x\nb: [${"*a,".repeat(300_000)}]`],
  ["a megabyte of anchors", Array.from({ length: 60_000 }, (_, i) => `k${i}: &a${i} x`).join("\n")],
  ["a megabyte of keys", Array.from({ length: 90_000 }, (_, i) => `key${i}: 1`).join("\n")],
  ["a megabyte of open mappings", "{a: ".repeat(260_000)],
  ["values of values in brackets", `name: { ${"prototype: ".repeat(6000)} }`],
  ["the same behind brackets that are never closed", `a: { b: c\nd: ${"e: ".repeat(6000)}`],
  ["a megabyte of comments", "# x\n".repeat(260_000)],
  [
    "merges of merges",
    `a: &a {x: 1}\n${Array.from({ length: 30 }, (_, i) => `m${i}: &m${i} {<<: [*a, *a]}`).join("\n")}`,
  ],
  ["a block text of a megabyte", `name: |\n${"  x\n".repeat(250_000)}`],
  ["10 MB of one key", `${"k".repeat(1e7)}: 1`],
];

describe("a hostile pipeline file", () => {
  let folder: string;
  before(async () => {
    folder = await mkdtemp(join(tmpdir(), "spillway-hostile-"));
  });
  after(() => rm(folder, { recursive: true }));

  it("is refused in a heap of 64 MiB, whatever it is", async () => {
    for (const [index, [, text]] of bombs.entries())
      await writeFile(join(folder, `${index}.yaml`), text);
    const script = `
      import { loadPipeline } from ${JSON.stringify(loader)};
      const before = Object.getOwnPropertyNames(Object.prototype).join();
      let slowest = 0;
      for (let index = 0; index < ${bombs.length}; index += 1) {
        const started = performance.now();
        try { await loadPipeline(index + ".yaml"); } catch (error) { if (error.code !== "config-invalid") throw error; }
        slowest = Math.max(slowest, performance.now() - started);
      }
      if (Object.getOwnPropertyNames(Object.prototype).join() !== before) throw new Error("polluted");
      console.log(JSON.stringify({ slowest, rss: process.resourceUsage().maxRSS }));`;
    const { status, stdout, stderr } = spawnSync(
      process.execPath,
      [`--max-old-space-size=${heapMegabytes}`, "--input-type=module", "-e", script],
      { cwd: folder, encoding: "utf8" },
    );
    assert.equal(status, 0, stderr);
    const { slowest } = JSON.parse(stdout) as { slowest: number };
    assert.ok(slowest < 10_000, "not by minutes; a second is usual on a quiet machine");
  });

  it("with names of prototypes changes none, nor do rows with them", async () => {
    const names = ["__proto__", "constructor", "prototype", "hasOwnProperty", "toString"];
    const rows = names.map((name) => JSON.stringify({ id: 1 }).replace("id", name)).join("\n");
    await writeFile(
      join(folder, "rows.ndjson"),
      `${rows}\n{"__proto__":{"evil":1},"constructor":{"prototype":{"evil":1}}}\n`,
    );
    await writeFile(join(folder, "same.mjs"), "export default (row) => ({ ...row });");
    const yaml = (more = "") => `name: x\nmemory: 256MiB\nstages:
  - ndjson: ${folder}/rows.ndjson
  - map: ${folder}/same.mjs
  - serialize: ndjson
  - chunk: 4KiB
  - compress: none
  - encrypt: none
  - spool: ${folder}/spool
  - upload: ${folder}/out\n${more}`;
    const env = { XDG_STATE_HOME: folder };
    for (const name of names)
      for (const more of [`${name}: { evil: 1 }`, `telemetry: { ${name}: { evil: 1 } }`])
        await assert.rejects(
          async () => planPipeline(parsePipeline(yaml(more), "x.yaml"), { resolve: "full", env }),
          (error) => error instanceof PipelineError && /unknown key/.test(error.message),
        );
    const { privateKey } = generateKeyPairSync("ed25519");
    const KEY = privateKey.export({ type: "pkcs8", format: "pem" }).toString();
    const summary = await run(parsePipeline(yaml("sign: ${env:KEY}"), "x.yaml"), {
      env: { ...env, KEY },
    });
    assert.equal(summary.rows, names.length + 1);
    assert.equal("evil" in {}, false);
    assert.equal(Object.hasOwn(Object.prototype, "evil"), false);
  });
});

/**
 * Writes what is generated from code: docs/spillway.schema.json, docs/reference.md and the WebAssembly of `assembly/`.
 * With `--check` it writes nothing and exits 1 when one of them is not what it would write.
 */
import { readFile, writeFile } from "node:fs/promises";
import { pipelineJsonSchema } from "../src/pipeline/json-schema.ts";
import { registry } from "../src/stages/registry.ts";
import { compileMachine } from "./compile-machine.ts";
import { writeReference } from "./reference-page.ts";

const generated = new Map([
  ["docs/spillway.schema.json", `${JSON.stringify(pipelineJsonSchema(registry), null, 2)}\n`],
  ["docs/reference.md", writeReference(registry)],
  ["src/stages/sources/postgres-wire/machine-bytes.ts", compileMachine("assembly/records.ts")],
  ["src/stages/sources/fhir/machine-bytes.ts", compileMachine("assembly/resource.ts")],
]);

const isCheck = process.argv.includes("--check");
for (const [name, content] of generated) {
  const path = new URL(`../${name}`, import.meta.url);
  if (!isCheck) await writeFile(path, content);
  else if ((await readFile(path, "utf8").catch(() => "")) !== content) {
    console.error(`${name} is not current; run: node scripts/generate.ts`);
    process.exitCode = 1;
  }
}

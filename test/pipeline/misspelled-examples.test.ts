/** The examples, misspelled in every place: what comes of it is a plan or a refusal that says where, never a failure of ours. */
import assert from "node:assert/strict";
import { readFile, readdir } from "node:fs/promises";
import { join } from "node:path";
import { PipelineError } from "../../src/errors.ts";
import { parsePipeline, printPipeline } from "../../src/pipeline/load.ts";
import { planPipeline } from "../../src/pipeline/plan.ts";

const examples = join(import.meta.dirname, "../../examples");
const file = join(examples, "misspelled.yaml");
const database = "postgres://me:secret@localhost/clinic";
const env = {
  DATABASE_URL: database,
  TERMS_URL: database,
  TARGET_URL: database,
  AGE_RECIPIENT: "age1yeznxjjp7n4hz27d4gkwad7wrdulpfxm64f62ac5nc07npm84cgq3tzux6",
  MYSQL_URL: "mysql://h/d",
  FHIR_URL: "https://server/fhir",
  FHIR_TOKEN: "token",
  TOKEN_URL: "https://server/token",
  UPLOAD_AUTHORIZATION: "Bearer token",
  SPILLWAY_PASSPHRASE: "correct horse battery",
};

const nonsense: readonly unknown[] = [
  null,
  -1,
  "🙂",
  "${env:NOPE}",
  "https://u:p@h/?q#f",
  [[null]],
  { unknown: 1 },
];

/** What cannot be refused at a line: the sum of all, what is no module, and a bound that nothing would seal. */
const placeless =
  /^memory: |: the module .* cannot be read|cannot load|^postgres: `watermark` keeps/;

type Tree = Record<string, unknown>;

/** Every place: what holds it, its key there, and the keys that lead there. */
function* placesIn(tree: unknown, above = ""): Generator<readonly [Tree, string, string]> {
  if (typeof tree !== "object" || tree === null) return;
  for (const [key, inner] of Object.entries(tree)) {
    const path = Array.isArray(tree) ? above : `${above}.${key}`;
    yield [tree as Tree, key, path];
    yield* placesIn(inner, path);
  }
}

/** @returns whether it is refused */
async function isRefused(text: string): Promise<boolean> {
  try {
    await planPipeline(parsePipeline(text, file), { resolve: "full", env });
    return false;
  } catch (error) {
    assert.ok(error instanceof PipelineError, `${String((error as Error).stack)}\n${text}`);
    assert.equal(error.exitCode, 2, text);
    const { message } = error;
    assert.ok(message.startsWith(`${file}:`) || placeless.test(message), `${message}\n${text}`);
    return true;
  }
}

describe("examples that are misspelled", () => {
  it("are planned, or refused with exit code 2 and a place", async () => {
    const seen = new Set<string>();
    let refused = 0;
    for (const name of (await readdir(examples)).filter((one) => one.endsWith(".yaml"))) {
      const { spec } = parsePipeline(await readFile(join(examples, name), "utf8"), file);
      for (const [holder, key, path] of placesIn(spec)) {
        if (seen.has(path)) continue;
        seen.add(path);
        const right = holder[key];
        for (const wrong of nonsense) {
          holder[key] = wrong;
          if (await isRefused(printPipeline(spec))) refused += 1;
        }
        holder[key] = right;
      }
    }
    assert.ok(seen.size > 80 && refused > 5 * seen.size, `${refused} of ${seen.size} places`);
  });
});

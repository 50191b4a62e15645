import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { readFile } from "node:fs/promises";
import { parsePipeline } from "../../src/pipeline/load.ts";
import { pipelineJsonSchema, type JsonNode } from "../../src/pipeline/json-schema.ts";
import { validateSpec } from "../../src/pipeline/validate.ts";
import { registry } from "../../src/stages/registry.ts";
import { testRegistry } from "./stages-for-tests.ts";

const schema = pipelineJsonSchema(testRegistry);

/** The few keywords of draft-07 that the schema uses. */
function accepts(node: JsonNode, value: unknown, root: JsonNode = schema): boolean {
  const { definitions } = root as typeof schema;
  if (node.$ref) return accepts(definitions[node.$ref.replace("#/definitions/", "")]!, value, root);
  const isObject = typeof value === "object" && value !== null && !Array.isArray(value);
  const types: Record<string, boolean> = {
    string: typeof value === "string",
    number: typeof value === "number",
    integer: Number.isInteger(value),
    boolean: typeof value === "boolean",
    null: value === null,
    array: Array.isArray(value),
    object: isObject,
  };
  if (node.type !== undefined && types[node.type] !== true) return false;
  if (node.enum && !node.enum.includes(value)) return false;
  if (node.const !== undefined && node.const !== value) return false;
  if (node.anyOf && !node.anyOf.some((member) => accepts(member, value, root))) return false;
  if (typeof value === "string") {
    if (node.pattern !== undefined && !new RegExp(node.pattern).test(value)) return false;
    if (value.length < (node.minLength ?? 0)) return false;
  }
  if (typeof value === "number" && value < (node.minimum ?? -Infinity)) return false;
  if (Array.isArray(value)) {
    if (value.length < (node.minItems ?? 0)) return false;
    return value.every((item) => !node.items || accepts(node.items, item, root));
  }
  return !isObject || acceptsKeys(node, value as Record<string, unknown>, root);
}

function acceptsKeys(node: JsonNode, value: Record<string, unknown>, root: JsonNode): boolean {
  const keys = Object.keys(value);
  if (keys.length > (node.maxProperties ?? Infinity)) return false;
  if (keys.length < (node.minProperties ?? 0)) return false;
  if (node.required?.some((key) => !keys.includes(key))) return false;
  return keys.every((key) => {
    const patterns = Object.entries(node.patternProperties ?? {});
    const known =
      node.properties?.[key] ?? patterns.find(([pattern]) => new RegExp(pattern).test(key))?.[1];
    if (known) return accepts(known, value[key], root);
    return node.additionalProperties !== false;
  });
}

const isValid = (spec: unknown) => {
  try {
    validateSpec(spec as never, testRegistry, { resolve: "none" });
    return true;
  } catch {
    return false;
  }
};

const source = { url: "u", query: "q" };
/** Specs on which the editor and the program must agree. */
const specs: [unknown, boolean][] = [
  [{ name: "x", stages: [{ page: "1MiB" }] }, true],
  [{ name: "x", stages: [{ page: 8192 }] }, true],
  [{ name: "x", stages: [{ page: null }] }, true],
  [{ name: "x", stages: [{ page: { size: "2MiB", wait: "30s" } }] }, true],
  [{ name: "x", stages: [{ page: { size: "${env:S}", wait: "${env:W:-1s}" } }] }, true],
  [{ name: "x", stages: [{ page: "${env:S}" }, { squeeze: "${env:C}" }] }, true],
  [
    { name: "x", stages: [{ source: { ...source, options: { limit: "${env:L}", ssl: true } } }] },
    true,
  ],
  [{ name: "x", stages: [{ source: { ...source, params: [1, "a", null] } }] }, true],
  [{ name: "x", stages: [{ seal: { to: ["age1x"] } }, { seal: { token: "123456789012" } }] }, true],
  [{ name: "x", stages: [{ "./mine.ts": { a: 1 } }, { "../mine.ts": null }] }, true],
  [{ name: "x-${env:SITE}", memory: "128MiB", stages: [{ page: {} }], sign: "${file:k}" }, true],
  [{ name: "x", memory: { budget: "1GiB", threshold: 0.8 }, stages: [{ page: {} }] }, true],
  [{ name: "x", memory: { graduality: "${env:STEPS}" }, stages: [{ page: {} }] }, true],
  [{ name: "x", memory: { threshold: 0.4 }, stages: [{ page: {} }] }, false],
  [{ name: "x", memory: { graduality: 0 }, stages: [{ page: {} }] }, false],
  [{ name: "x", memory: { treshold: 0.8 }, stages: [{ page: {} }] }, false],
  [{ name: "x", stages: [{ page: "1Mib" }] }, false],
  [{ name: "x", stages: [{ page: { sise: 1 } }] }, false],
  [{ name: "x", stages: [{ page: "1${env:U}" }] }, false],
  [{ name: "x", stages: [{ squeeze: "zip" }] }, false],
  [{ name: "x", stages: [{ squeeze: null }] }, false],
  [{ name: "x", stages: [{ source: { url: "u" } }] }, false],
  [{ name: "x", stages: [{ source: { ...source, options: { limit: 0 } } }] }, false],
  [{ name: "x", stages: [{ source: { ...source, options: { limit: "5" } } }] }, false],
  [{ name: "x", stages: [{ page: null, squeeze: "zstd" }] }, false],
  [{ name: "x", stages: [{ elephant: 1 }] }, false],
  [{ name: "x", stages: [{}] }, false],
  [{ name: "x", stages: [] }, false],
  [{ name: "X y", stages: [{ page: null }] }, false],
  [{ stages: [{ page: null }] }, false],
  [{ name: "x", stages: [{ page: null }], telemtry: {} }, false],
  [{ name: "x", stages: [{ page: null }], telemetry: { sdk: "heavy" } }, false],
];

describe("the JSON Schema of a pipeline", () => {
  it("is draft-07, closed, and says what each key is for", () => {
    assert.equal(schema.$schema, "http://json-schema.org/draft-07/schema#");
    assert.equal(schema.additionalProperties, false);
    assert.deepEqual(schema.required, ["name", "stages"]);
    assert.match(schema.properties?.["memory"]?.description ?? "", /whole process/);
    assert.equal(schema.properties?.["memory"]?.default, "96MiB");
  });

  it("has one form for each stage, with its summary", () => {
    const forms = schema.properties?.["stages"]?.items?.anyOf ?? [];
    for (const { name, summary } of testRegistry.values()) {
      const form = forms.find(({ required }) => required?.[0] === name);
      assert.equal(form?.description, summary);
      assert.equal(form.additionalProperties, false);
    }
  });

  it("describes fields that are transformed, and leaves the notes of the reference out", () => {
    const text = JSON.stringify(schema);
    assert.match(text, /"description":"public keys"/);
    assert.doesNotMatch(text, /"unit":|"secret":/);
  });

  for (const [spec, expected] of specs)
    it(`${expected ? "accepts" : "refuses"} what the program does: ${JSON.stringify(spec)}`, () => {
      assert.equal(isValid(spec), expected, "the program");
      assert.equal(accepts(schema, spec), expected, "the schema");
    });

  it("accepts a stage by its name alone where it needs no config", () => {
    assert.ok(accepts(schema, { name: "x", stages: ["page"] }));
    assert.ok(!accepts(schema, { name: "x", stages: ["squeeze"] }));
  });

  it("accepts a pipeline of the real stages, as the guide has it, and the program does too", () => {
    const text = `
name: observations
memory: 96MiB
stages:
  - postgres:
      url: \${env:DATABASE_URL}
      query: select * from observation where code = $1
      params: ["29463-7"]
      key: [id]
  - serialize: ndjson
  - chunk: 1MiB
  - compress: zstd
  - encrypt: { to: [age1qqqq, age1pppp] }
  - spool: { dir: ./spool, maxBytes: 10GiB }
  - upload: { to: "s3://bucket/prefix" }
telemetry: { otlp: "\${env:OTEL_EXPORTER_OTLP_ENDPOINT}" }
`;
    const { spec } = parsePipeline(text, "x.yaml");
    const real = pipelineJsonSchema(registry);
    assert.ok(accepts(real, spec, real));
    assert.equal(validateSpec(spec, registry, { resolve: "none" }).stages.length, 7);
  });
});

describe("what is generated from code", () => {
  const root = new URL("../../", import.meta.url);

  it("is current", () => {
    execFileSync(process.execPath, ["scripts/generate.ts", "--check"], { cwd: root });
  });

  it("has a heading for every stage and a line for every error code", async () => {
    const page = await readFile(new URL("docs/reference.md", root), "utf8");
    for (const name of registry.keys()) assert.ok(page.includes(`\n### ${name}\n`), name);
    assert.match(page, /\| `config-invalid` \| 2 \| fix the config \|/);
  });
});

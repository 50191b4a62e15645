/** Fuzzed: pipelines in YAML, and manifests. */
import assert from "node:assert/strict";
import { readFileSync, readdirSync } from "node:fs";
import { join } from "node:path";
import { parsePipeline, printPipeline } from "../../src/pipeline/load.ts";
import { entryText, headText, tailText } from "../../src/pipeline/manifest.ts";
import { planPipeline } from "../../src/pipeline/plan.ts";
import { readManifest } from "../../src/pipeline/read-manifest.ts";
import { validateSpec } from "../../src/pipeline/validate.ts";
import { PipelineError } from "../../src/errors.ts";
import { registry } from "../../src/stages/registry.ts";
import type { Reread } from "../../src/stages/durable-file.ts";
import { manifestBytes, sampleEntries, sampleHead } from "../../test/fixtures/manifest.ts";
import { cut, wordsOf } from "./chance.ts";
import type { FuzzClass } from "./fuzz-class.ts";

const root = join(import.meta.dirname, "../..");

/** A little of everything that YAML has. */
const oddYaml = `# comment
name: &n "odd \\u00e9"
memory: { budget: 96MiB, threshold: 0.9, graduality: 4 }
stages:
- postgres: {url: "\${env:URL}", query: |-
    select 1
    -- two
  , params: [1, 2.5, true, null, ~, 'x''y'], batch: 64KiB}
- ? filter
  : column: a
    equals: "0x10"
- select: [a, "b", __proto__, constructor]
- serialize: csv
- chunk
- compress: {codec: gzip, level: 9}
- encrypt: none
- spool: {dir: *n , maxBytes: 1GiB}
- upload: file:///tmp/x
telemetry: {otlp: http://127.0.0.1:4318, sdk: light}
`;

const yamlWords = [
  ..."-:?&*!|>{}[],#%@`\"'\n\t \0".split(""),
  ...wordsOf("- ·: ·? ·&a ·*a·*a ·!!js/function ·!x ·<<: *a\n·---\n·...\n"),
  ...wordsOf('%YAML 1.1\n·|2\n·>-\n·"\\·\\x00·\\ud800·\u2028·\ufeff·\u0085·\r'),
  ...wordsOf("[[·{{·{a: ·- - ·  ·__proto__: ·constructor: ·prototype: ·toString: "),
  ...wordsOf("${env:A}·${file:a}·${·}·$${·1MiB·1MB·-1KiB·1e9GiB·.inf·.nan"),
  ...wordsOf("0o777·0x1F·1_000·9007199254740993·1e400·null·~·yes·2001-01-01·30s"),
  ...wordsOf("./mask.ts: {}\n·/etc/passwd·age1·s3://b/p·tar:///x.tar·https://x·postgres://"),
];

const place = /^fuzz\.yaml:\d+:\d+: /;

/** What is printed in the terminal of whoever runs it: never a control character. */
// oxlint-disable-next-line no-control-regex
const unprintable = /[\0-\u0008\u000b-\u001f\u007f]/;

export function yaml(): FuzzClass {
  const examples = readdirSync(join(root, "examples")).filter((name) => name.endsWith(".yaml"));
  const whole = examples.map((name) => readFileSync(join(root, "examples", name)));
  return {
    seeds: { whole: [...whole, Buffer.from(oddYaml)], words: yamlWords },
    async run(bytes, chance) {
      let isPlaced = true;
      try {
        const pipeline = parsePipeline(bytes.toString("utf8"), "fuzz.yaml");
        const { spec, locate } = pipeline;
        const again = parsePipeline(printPipeline(spec), "fuzz.yaml");
        assert.deepEqual(again.spec, spec, "YAML → spec → YAML is the identity");
        validateSpec(spec, registry, { resolve: "none", locate });
        isPlaced = false;
        const env = { URL: "postgres://h/d", DATABASE_URL: "postgres://h/d" };
        const resolve = chance.pick(["none", "full"] as const);
        if (!isModuleOfOthers(spec.stages)) await planPipeline(pipeline, { resolve, env });
      } catch (error) {
        if (!(error instanceof PipelineError)) throw error;
        if (isPlaced) assert.match(error.message, place);
        assert.doesNotMatch(error.message, unprintable);
        throw error;
      }
    },
  };
}

/** Code of one's own is run, not read: no business of a fuzzer. */
const isModuleOfOthers = (stages: readonly Readonly<Record<string, unknown>>[]): boolean =>
  stages.some((stage) => !Object.keys(stage).every((name) => registry.has(name)) || "map" in stage);

const manifestWords = [
  ...'{}[],:"\\\n\r\t '.split(""),
  ...wordsOf('"pages":[\n·\n],\n·"span":"first"·"span":"middle"·"span":"last"·null·true'),
  ...wordsOf('"__proto__":·"constructor":·"format":"spillway/2"·../·\\u0000·\u2028·é'),
  ...wordsOf("1.0·1e3·-0·00000001.ndjson.zst.age·spillway/999999999"),
];

export async function manifests(): Promise<FuzzClass> {
  const folder = join(root, "test/fixtures/format-1");
  const vectors = readdirSync(folder, { withFileTypes: true })
    .filter((entry) => entry.isDirectory())
    .map(({ name }) => readFileSync(join(folder, name, "manifest.json")));
  const spans = (["first", "middle", "last", undefined] as const).map((span, index) => ({
    ...sampleEntries(4)[index]!,
    records: span === "first" || span === "middle" ? 0 : 1,
    ...(span && { span }),
  }));
  const made = await Promise.all([
    manifestBytes(),
    manifestBytes(sampleHead, sampleEntries(1)),
    manifestBytes(sampleHead, spans),
  ]);
  return {
    seeds: { whole: [...vectors, ...made], words: manifestWords },
    async run(bytes, chance) {
      const whole = await readAgain(() => [bytes]);
      if (chance.once(2)) {
        const pieces = cut(bytes, chance);
        const again = await readAgain(() => inOneMemory(pieces));
        const verdicts = [whole, again].map((one) => (typeof one === "string" ? one : one.code));
        assert.equal(verdicts[1], verdicts[0], "cut and whole are understood alike");
      }
      if (typeof whole !== "string") throw whole;
      assert.ok(bytes.equals(Buffer.from(whole)), "a manifest has one spelling");
    },
  };
}

/** What was understood, written again. */
async function readAgain(read: Reread): Promise<string | PipelineError> {
  try {
    const { head, tail, pages } = await readManifest(read);
    const entries = await Array.fromAsync(pages());
    return `${headText(head)}${entries.map(entryText).join(",\n")}${tailText(tail)}`;
  } catch (error) {
    if (error instanceof PipelineError) return error;
    throw error;
  }
}

/** A piece lasts until the next is asked for. */
function* inOneMemory(pieces: readonly Buffer[]): Generator<Uint8Array> {
  const memory = new Uint8Array(Math.max(0, ...pieces.map(({ length }) => length)));
  for (const piece of pieces) {
    memory.set(piece);
    yield memory.subarray(0, piece.length);
  }
}

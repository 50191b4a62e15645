import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import * as fc from "fast-check";
import { loadPipeline, parsePipeline, printPipeline } from "../../src/pipeline/load.ts";
import { validateSpec } from "../../src/pipeline/validate.ts";
import { PipelineError } from "../../src/errors.ts";
import { inStage, nonsense } from "./nonsense.ts";
import { testRegistry } from "./stages-for-tests.ts";

const example = `# yaml-language-server: $schema=spillway.schema.json
name: observations
memory: 96MiB
stages:
  - source:
      url: \${env:DATABASE_URL}
      query: select * from observation where code = $1
      params: ["29463-7"]
  - page: 1MiB
  - squeeze: zstd
  - seal: { to: [age1abc, age1def] }
telemetry: { otlp: "\${env:OTEL_EXPORTER_OTLP_ENDPOINT}" }
`;

/** Reads and checks as \`check\` does; gives the lines of the error. */
function refuse(text: string): string[] {
  const start = performance.now();
  try {
    const { spec, locate } = parsePipeline(text, "x.yaml");
    validateSpec(spec, testRegistry, { resolve: "none", locate });
  } catch (error) {
    assert.ok(error instanceof PipelineError, String(error));
    assert.equal(error.code, "config-invalid");
    assert.ok(performance.now() - start < 1000, "refused within a second");
    return error.message.split("\n");
  }
  return assert.fail("it was accepted");
}

describe("a pipeline file", () => {
  it("reads as the plain spec, untouched", () => {
    const { spec, baseDir } = parsePipeline(example, "/etc/spillway/export.yaml");
    assert.deepEqual(spec, {
      name: "observations",
      memory: "96MiB",
      stages: [
        {
          source: {
            url: "${env:DATABASE_URL}",
            query: "select * from observation where code = $1",
            params: ["29463-7"],
          },
        },
        { page: "1MiB" },
        { squeeze: "zstd" },
        { seal: { to: ["age1abc", "age1def"] } },
      ],
      telemetry: { otlp: "${env:OTEL_EXPORTER_OTLP_ENDPOINT}" },
    });
    assert.equal(baseDir, "/etc/spillway");
  });

  it("is found again at its line and column", () => {
    const { locate } = parsePipeline(example, "x.yaml");
    const at = (path: (string | number)[], key?: "key") => {
      const { line, column } = locate(path, key);
      return `${line}:${column}`;
    };
    assert.equal(at(["stages", 0, "source", "params", 0]), "8:16");
    assert.equal(at(["stages", 0, "source", "params"], "key"), "8:7");
    assert.equal(at(["stages", 1, "page", "size"]), "9:11", "a bare value stands for its field");
    assert.equal(at(["stages", 7, "x"]), "5:3", "what is not there is found at its parent");
    assert.equal(at([]), "2:1");
  });

  it("keeps texts as texts where YAML 1.1 would not", () => {
    const { spec } = parsePipeline("name: no\nstages: [{ page: 1_000 }, { page: 0777 }]", "x");
    assert.deepEqual(spec, { name: "no", stages: [{ page: "1_000" }, { page: 777 }] });
  });

  it("takes a byte order mark, Windows line ends, few aliases and a stage by its name", () => {
    const { spec, locate } = parsePipeline(
      "\uFEFFname: &n x\r\nstages:\r\n  - page\r\n  - source: { url: *n, query: *n }\r\n",
      "x.yaml",
    );
    assert.deepEqual(spec, {
      name: "x",
      stages: [{ page: null }, { source: { url: "x", query: "x" } }],
    });
    assert.deepEqual(locate(["stages", 0, "page"]), { file: "x.yaml", line: 3, column: 5 });
  });

  it("refuses a byte order mark within the text, and writes one in a value as an escape", () => {
    assert.throws(() => parsePipeline("name: x\n\uFEFFstages: []\n", "x.yaml"), {
      message: /^x\.yaml:2:1: control character/,
    });
    const { spec } = parsePipeline('"\\uFEFFname": x\nstages: [page]\n', "x.yaml");
    const printed = printPipeline(spec);
    assert.doesNotMatch(printed, /\uFEFF/);
    assert.deepEqual(parsePipeline(printed, "x.yaml").spec, spec);
  });

  it("does not let __proto__ near a prototype", () => {
    const { spec } = parsePipeline("__proto__: { polluted: 1 }\nname: x\nstages: [page]", "x.yaml");
    assert.equal(({} as { polluted?: unknown }).polluted, undefined);
    assert.equal(Object.getPrototypeOf(spec), Object.prototype);
    assert.ok(Object.hasOwn(spec, "__proto__"));
  });
});

describe("what has been read", () => {
  for (const stages of ["12", "{ page: 1MiB }", "[12]", "[page, null]", "[[page]]", ""])
    it(`is a list of mappings, or refused: stages: ${stages}`, () => {
      assert.throws(
        () => parsePipeline(`name: x\nextra: 1\nstages: ${stages}\n`, "x.yaml"),
        /^PipelineError: x\.yaml:2:1: extra: unknown key .*\nx\.yaml:3:\d+: stages/,
      );
    });
});

describe("nonsense in YAML is refused at its line, in words", () => {
  for (const [what, text, expected] of nonsense)
    it(what, () => {
      const [first = ""] = refuse(text);
      if (typeof expected === "string") assert.equal(first, expected);
      else assert.match(first, expected);
    });

  it("every mistake at once, in the order of the file, ten at most", () => {
    const lines = refuse(
      `nam: x\nmemory: lots\nstages:\n${"  - page: { sise: 1 }\n".repeat(12)}telemetry: 1\n`,
    );
    assert.deepEqual(
      lines.map((line) => line.split(": ").slice(0, 2).join(": ")),
      [
        "x.yaml:1:1: nam",
        'x.yaml:1:1: missing key "name"',
        "x.yaml:2:9: memory",
        ...Array.from({ length: 7 }, (_, i) => `x.yaml:${4 + i}:13: stages[${i}].page.sise`),
        "… and 6 more problems",
      ],
    );
  });

  it("unusual keys are quoted, escaped and cut", () => {
    const [first = ""] = refuse(inStage(`page: { "a\\e[31m b": 1, ${"k".repeat(900)}: 2 }`));
    assert.match(first, /stages\[0\]\.page\["a\\u001b\[31m b"\]: unknown key "a\\u001b\[31m b"/);
    assert.ok(
      refuse(inStage(`page: { ${"k".repeat(900)}: 2 }`)).every((line) => line.length < 250),
    );
  });

  it("sizes in every unit are not nonsense", () => {
    for (const unit of ["KB", "MB", "KiB", "MiB", "GiB"]) {
      const { spec } = parsePipeline(inStage(`page: 64${unit}`), "x.yaml");
      assert.ok(validateSpec(spec, testRegistry, { resolve: "full" }).memory.budget > 0);
    }
  });
});

describe("YAML → spec → YAML → spec", () => {
  const key = fc.oneof(
    fc.string({ minLength: 1 }),
    fc.constantFrom("yes", "~", "1", "<<", "a: b", "#", "__proto__"),
  );
  const text = fc.oneof(
    fc.string({ unit: "binary" }),
    fc.constantFrom(
      "no",
      "1e3",
      "- a",
      "null",
      "0x1f",
      " a ",
      "a\n\n b\n",
      "\t",
      "---",
      "${env:X}",
      "*a",
      "&a",
      "!x",
      "\u0085",
      "\u2028",
      "\r\n",
    ),
  );
  const number = fc.oneof(
    fc.maxSafeInteger(),
    fc.double({ noNaN: true, noDefaultInfinity: true, max: 1e9, min: -1e9 }),
  );
  const { value } = fc.letrec((tie) => ({
    value: fc.oneof(
      { maxDepth: 4 },
      text,
      number,
      fc.boolean(),
      fc.constant(null),
      fc.array(tie("value"), { maxLength: 4 }),
      fc.dictionary(key, tie("value"), { maxKeys: 4, noNullPrototype: true }),
    ),
  }));

  it("is the identity, whatever the configs hold", () => {
    fc.assert(
      fc.property(fc.array(fc.tuple(key, value), { maxLength: 4 }), text, (stages, sign) => {
        const spec = { name: "x", stages: stages.map(([name, v]) => ({ [name]: v })), sign };
        const printed = printPipeline(spec);
        const again = parsePipeline(printed, "x.yaml").spec;
        assert.deepEqual(again, spec);
        assert.equal(printPipeline(again), printed);
      }),
      { numRuns: 500 },
    );
  });
});

describe("a valid file with random damage", () => {
  const damage = fc.array(
    fc.record({
      at: fc.nat({ max: example.length }),
      cut: fc.nat({ max: 12 }),
      insert: fc.oneof(
        fc.string({ unit: "binary", maxLength: 4 }),
        fc.constantFrom(
          "\t",
          "&a ",
          "*a ",
          "!!x ",
          "? ",
          "- ",
          ": ",
          "{",
          "[",
          "}",
          '"',
          "'",
          "|\n",
          "\n---\n",
          "\0",
          "${",
          "<<: ",
          "#",
          "%YAML 1.1\n",
          "\uD800",
        ),
      ),
    }),
    { minLength: 1, maxLength: 4 },
  );

  it("is valid or refused with a place; never another error, never slow", () => {
    fc.assert(
      fc.property(damage, (cuts) => {
        const text = cuts.reduce(
          (before, { at, cut, insert }) => before.slice(0, at) + insert + before.slice(at + cut),
          example,
        );
        const start = performance.now();
        try {
          const { spec, locate } = parsePipeline(text, "x.yaml");
          validateSpec(spec, testRegistry, { resolve: "none", locate });
        } catch (error) {
          if (!(error instanceof PipelineError)) throw error;
          assert.equal(error.code, "config-invalid");
          assert.match(error.message, /^x\.yaml:\d+:\d+: \S/);
        }
        assert.ok(performance.now() - start < 1000);
      }),
      { numRuns: 4000 },
    );
  }).timeout(60_000);
});

const refused = (path: string) =>
  loadPipeline(path).then(
    () => assert.fail("it was accepted"),
    (error: unknown) => {
      assert.ok(error instanceof PipelineError);
      return error;
    },
  );

describe("reading from disk", () => {
  let folder = "";
  before(async () => {
    folder = await mkdtemp(join(tmpdir(), "spillway-load-"));
  });
  after(() => rm(folder, { recursive: true, force: true }));

  it("gives the folder of the file as base", async () => {
    await writeFile(join(folder, "a.yaml"), example);
    const { spec, baseDir } = await loadPipeline(join(folder, "a.yaml"));
    assert.equal(spec.name, "observations");
    assert.equal(baseDir, folder);
  });

  it("a missing file is said to be missing", async () => {
    const error = await refused(join(folder, "none.yaml"));
    assert.equal(error.code, "input-missing");
    assert.match(error.message, /none\.yaml: no such file/);
  });

  it("binary is refused where it begins", async () => {
    await writeFile(join(folder, "b.yaml"), Buffer.from([0x61, 0x3a, 0x0a, 0x62, 0xff, 0xfe]));
    assert.match((await refused(join(folder, "b.yaml"))).message, /b\.yaml:2:2: expected UTF-8/);
  });

  it("10 MB are not read", async () => {
    await writeFile(join(folder, "c.yaml"), Buffer.alloc(10_000_000, "ä"));
    assert.match(
      (await refused(join(folder, "c.yaml"))).message,
      /c\.yaml:1:1: the file is larger/,
    );
  });

  it("a folder and a pipe without a writer are refused, at once", async () => {
    assert.equal((await refused(folder)).exitCode, 2);
    execFileSync("mkfifo", [join(folder, "pipe")]);
    assert.match((await refused(join(folder, "pipe"))).message, /expected a file/);
  });
});

import assert from "node:assert/strict";
import { Transform } from "node:stream";
import type { PipelineSpec } from "../../src/pipeline/spec.ts";
import { suggest } from "../../src/pipeline/suggest.ts";
import { isModulePath, resolveSpec, validateSpec } from "../../src/pipeline/validate.ts";
import { PipelineError } from "../../src/errors.ts";
import { registry } from "../../src/stages/registry.ts";
import { testRegistry } from "./stages-for-tests.ts";

const specOf = (...stages: Record<string, unknown>[]): PipelineSpec => ({ name: "x", stages });
const validate = (spec: PipelineSpec, resolve: "none" | "full" = "full") =>
  validateSpec(spec, testRegistry, { resolve });
const messageOf = (spec: unknown, resolve: "none" | "full" = "full"): string => {
  try {
    validate(spec as PipelineSpec, resolve);
  } catch (error) {
    assert.ok(error instanceof PipelineError);
    return error.message;
  }
  return assert.fail("it was accepted");
};

describe("a valid spec", () => {
  it("comes back with units parsed and defaults filled in, and what was written beside it", () => {
    const input = { wait: "5m" };
    const valid = validate(specOf({ page: input }));
    assert.deepEqual(valid.memory, { budget: 96 * 2 ** 20, threshold: 0.9, graduality: 4 });
    assert.deepEqual(valid.stages[0]?.config, { size: 2 ** 20, wait: 300_000 });
    assert.equal(valid.stages[0]?.input, input);
    assert.equal(valid.stages[0]?.definition, testRegistry.get("page"));
    assert.deepEqual(valid.stages[0]?.path, ["stages", 0, "page"]);
    assert.deepEqual(valid.unresolved, []);
  });

  it("is not changed", () => {
    const spec = Object.freeze(specOf(Object.freeze({ page: Object.freeze({ size: "2MiB" }) })));
    validate(spec);
    assert.deepEqual(spec, { name: "x", stages: [{ page: { size: "2MiB" } }] });
  });

  it("may write a bare value for the shorthand, and nothing for a stage that needs nothing", () => {
    const { stages } = validate(
      specOf({ page: "2MiB" }, { page: 8192 }, { page: null }, { page: {} }),
    );
    assert.deepEqual(
      stages.map(({ config }) => (config as { size: number }).size),
      [2 ** 21, 8192, 2 ** 20, 2 ** 20],
    );
  });

  it("keeps sign and telemetry", () => {
    const otlp = "http://collector:4318";
    const valid = validate({ ...specOf({ page: null }), sign: "PEM", telemetry: { otlp } });
    assert.equal(valid.sign, "PEM");
    assert.deepEqual(valid.telemetry, { otlp, sdk: "light" });
  });

  it("leaves a custom stage by path to whoever imports it", () => {
    for (const path of ["./redact.ts", "../redact.ts", "/opt/redact.js"]) {
      const [stage] = validate(specOf({ [path]: { any: ["thing"] } })).stages;
      assert.equal(stage?.name, path);
      assert.equal(stage.definition, undefined);
      assert.deepEqual(stage.config, { any: ["thing"] });
    }
    assert.equal(isModulePath("redact.ts"), false);
  });

  it("checks a custom stage once the registry knows its path", () => {
    const registry = new Map([...testRegistry, ["./p.ts", testRegistry.get("page")!]]);
    const spec = specOf({ "./p.ts": "1Mib" });
    assert.throws(
      () => validateSpec(spec, registry, { resolve: "full" }),
      /stages\[0\]\["\.\/p\.ts"\]\.size: expected a size/,
    );
  });

  it("hands functions and streams given in code on as they are", () => {
    const work = new Transform();
    const [stage] = validate(specOf({ source: { url: "a", query: "b", params: [work] } })).stages;
    assert.equal((stage!.config as { params: unknown[] }).params[0], work);
  });
});

describe("a spec made in code", () => {
  it("is refused with its path where there is no file", () => {
    assert.equal(
      messageOf(specOf({ page: { sise: 1 } })),
      'stages[0].page.sise: unknown key "sise"; did you mean "size"?',
    );
  });

  it("is told everything at once", () => {
    const lines = messageOf({ stages: [{ page: { wait: [] } }, { squeeze: "x" }] }).split("\n");
    assert.equal(lines.length, 3);
  });

  it("says how many problems there are", () => {
    assert.throws(
      () => validate(specOf({ a: 1 }, { b: 1 })),
      (error: PipelineError) => error.details["problems"] === 2 && error.exitCode === 2,
    );
  });

  it("is refused where a name would be left out of a mapping: half a key finds other rows", () => {
    const on = { season: "season", constructor: "maker" };
    const spec = specOf({ lookup: { url: "postgres://localhost", query: "select 1", on } });
    assert.throws(
      () => validateSpec(spec, registry, { resolve: "full" }),
      /lookup\.on\.constructor: a key here cannot be named "constructor"/,
    );
  });

  it("with a cycle is refused, not followed for ever", () => {
    const params: unknown[] = [];
    params.push(params);
    assert.match(messageOf(specOf({ source: { url: "a", query: "b", params } }), "none"), /nested/);
  });
});

describe("before references are resolved", () => {
  it("a reference stands for any scalar, and the place is listed", () => {
    const valid = validate(
      specOf(
        { source: { url: "pg://${env:HOST}/db", query: "q", options: { limit: "${env:N}" } } },
        { page: "${env:SIZE}" },
        { squeeze: "${env:CODEC:-zstd}" },
        { seal: { token: "${env:T}" } },
      ),
      "none",
    );
    assert.deepEqual(valid.unresolved, [
      ["stages", 0, "source", "options", "limit"],
      ["stages", 1, "page", "size"],
      ["stages", 2, "squeeze", "codec"],
      ["stages", 3, "seal", "token"],
    ]);
    assert.deepEqual(valid.stages[1]?.config, { size: "${env:SIZE}", wait: 30_000 });
  });

  it("the memory behind a reference is the default, and listed", () => {
    const spec = { ...specOf({ page: null }), memory: "${env:MEMORY}" };
    const { memory, unresolved } = validate(spec, "none");
    assert.equal(memory.budget, 96 * 2 ** 20);
    assert.deepEqual(unresolved, [["memory"]]);
  });

  it("each number of the long form of memory may be one", () => {
    const memory = { budget: "128MiB", threshold: "${env:THRESHOLD}" };
    const spec = { ...specOf({ page: null }), memory } as unknown as PipelineSpec;
    const valid = validate(spec, "none");
    assert.deepEqual(valid.memory, { budget: 128 * 2 ** 20, threshold: 0.9, graduality: 4 });
    assert.deepEqual(valid.unresolved, [["memory", "threshold"]]);
  });

  it("a reference stands for no list or mapping, and for no part of a number", () => {
    const source = { url: "u", query: "q" };
    assert.match(
      messageOf(specOf({ source: { ...source, params: "${env:P}" } }), "none"),
      /expected a list, found a text/,
    );
    assert.match(
      messageOf(specOf({ source: { ...source, options: "${env:P}" } }), "none"),
      /expected a mapping/,
    );
    assert.match(messageOf(specOf({ page: "1${env:UNIT}" }), "none"), /expected a size/);
  });

  it("a wrong reference is said once", () => {
    for (const page of ["${size}", { size: "${size}" }])
      assert.equal(messageOf(specOf({ page }), "none").split("\n").length, 1);
  });

  it("an escaped reference is a text", () => {
    assert.match(messageOf(specOf({ page: "$${env:X}" }), "none"), /expected a size/);
  });
});

const resolve = (spec: PipelineSpec, env: Record<string, string>) =>
  resolveSpec(spec, testRegistry, { env, baseDir: "/" });

describe("a spec with its references resolved", () => {
  it("has numbers where numbers belong and texts where texts belong", async () => {
    const spec = specOf(
      { source: { url: "${env:A}", query: "q", options: { limit: "${env:A}", ssl: "${env:B}" } } },
      { page: "${env:C}" },
    );
    const { stages } = validate(await resolve(spec, { A: "5432", B: "true", C: "8192" }));
    assert.deepEqual(stages[0]?.config, {
      url: "5432",
      query: "q",
      params: [],
      options: { limit: 5432, ssl: true },
    });
    assert.deepEqual(stages[1]?.config, { size: 8192, wait: 30_000 });
  });

  it("is checked like any other, and its values are never repeated", async () => {
    const canary = "canary-7f3a";
    const spec = {
      ...specOf(
        { source: { url: "u", query: "q", options: { limit: "${env:S}", ssl: "${env:S}" } } },
        { page: { size: "${env:S}", wait: "${env:S}" } },
        { squeeze: "${env:S}" },
        { seal: { token: "${env:SHORT}" } },
        { seal: { to: ["${env:S}"] } },
      ),
      name: "${env:SHORT}",
      memory: "${env:S}",
    };
    const resolved = await resolve(spec, { S: `${canary} and more`, SHORT: "Canary!" });
    const message = messageOf(resolved);
    assert.equal(message.split("\n").length, 9);
    assert.doesNotMatch(message, /canary/i);
  });
});

describe("the name that was meant", () => {
  const names = ["size", "maxBytes", "codec", "compress", "url", "tar", "map"];
  const cases: [string, string | undefined][] = [
    ["sise", "size"],
    ["Size", "size"],
    ["maxbyte", "maxBytes"],
    ["comp", "compress"],
    ["compression", "compress"],
    ["cmoperss", "compress"],
    ["tra", "tar"],
    ["ur", "url"],
    ["urls", "url"],
    ["cat", undefined],
    ["csv", undefined],
    ["x", undefined],
    ["elephant", undefined],
    ["s".repeat(100_000), undefined],
  ];
  for (const [typed, meant] of cases)
    it(`${typed.slice(0, 20)} → ${meant ?? "nothing"}`, () =>
      assert.equal(suggest(typed, names), meant));
});

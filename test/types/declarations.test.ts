/** What a project that compiles against spillway needs besides: types of packages that come along, and of no others. */
import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { existsSync } from "node:fs";
import { mkdtemp, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { dirname, join, resolve } from "node:path";
import { fileURLToPath } from "node:url";

const root = fileURLToPath(new URL("../../", import.meta.url));
const imported = /\bfrom "([^"]+)"|\bimport\("([^"]+)"\)/g;

/** Packages that the declarations name which `index.d.ts` leads to. */
async function packagesOf(folder: string): Promise<Set<string>> {
  const packages = new Set<string>();
  const files = new Set([join(folder, "index.d.ts")]);
  for (const file of files) {
    for (const [, named, inlined] of (await readFile(file, "utf8")).matchAll(imported)) {
      const from = (named ?? inlined)!;
      if (from.startsWith(".")) files.add(resolve(dirname(file), from.replace(/ts$/, "d.ts")));
      else if (!from.startsWith("node:")) packages.add(/^(@[^/]+\/)?[^/]+/.exec(from)![0]);
    }
  }
  assert.ok(files.size > 50, "the walk comes about");
  return packages;
}

describe("the declarations of the public door", () => {
  it("name packages alone whose types are installed with spillway", async () => {
    const folder = await mkdtemp(join(tmpdir(), "spillway-types-"));
    try {
      const tsc = join(root, "node_modules/.bin/tsc");
      execFileSync(tsc, ["-p", "tsconfig.build.json", "--noCheck", "--outDir", folder], {
        cwd: root,
      });
      const { dependencies } = JSON.parse(await readFile(join(root, "package.json"), "utf8"));
      for (const name of await packagesOf(folder)) {
        assert.ok(name in dependencies, `${name} is no dependency`);
        const home = join(root, "node_modules", name);
        const { types, exports } = JSON.parse(await readFile(join(home, "package.json"), "utf8"));
        const hasTypes = Boolean(types) || /\.d\.[cm]?ts"/.test(JSON.stringify(exports ?? ""));
        assert.ok(hasTypes || existsSync(join(home, "index.d.ts")), `${name} has no types`);
      }
    } finally {
      await rm(folder, { recursive: true });
    }
  }).timeout(60_000);
});

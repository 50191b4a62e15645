import assert from "node:assert/strict";
import { readFile, readdir } from "node:fs/promises";
import { join } from "node:path";
import { fileURLToPath } from "node:url";

const src = fileURLToPath(new URL("../../src", import.meta.url));

describe("world", () => {
  it("is the one door of durable code to the disk, its clock and chance", async () => {
    const pages = (await readdir(join(src, "stages/pages"))).filter((name) =>
      /^(spool|page|under-way|checkpoint)/.test(name),
    );
    const durable = [
      ...pages.map((name) => `stages/pages/${name}`),
      "stages/durable-file.ts",
      "stages/destinations/file.ts",
      "stages/destinations/file-work.ts",
      "pipeline/run-folder.ts",
      "pipeline/run-files.ts",
      "pipeline/run-id.ts",
      "pipeline/commit.ts",
      "pipeline/commit-proof.ts",
    ];
    assert.ok(durable.length >= 20);
    // The lock is the kernel's, on a file of its own.
    for (const path of durable.filter((path) => !path.endsWith("spool-lock.ts"))) {
      const text = await readFile(join(src, path), "utf8");
      const past =
        /from "node:fs\/promises"|import \{(?! constants \})[^}]*\} from "node:fs"|\bset(Timeout|Interval)\(|new Date\(\)|Date\.now|random(Bytes|UUID) ?[,}].*node:crypto|Math\.random/;
      assert.equal(past.exec(text)?.[0], undefined, path);
    }
  });
});

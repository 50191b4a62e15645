/**
 * What does the end of a run take for a million pages, and reading such an export back?
 *
 *   node bench/commit.ts [--pages 1000,100000,1000000]
 *
 * The pages are files without bytes: what is measured is all that is done for each of them when a run is committed (counted, their
 * sums and the manifest written, signed, checked, asked for at the destination, stored, read back), and by
 * `verify --level bytes`. A terabyte in pages of 1 MiB is a million. Both peaks are the kernel's VmHWM; the commit runs from
 * the sources, which weighs more than the command does, so that its figure is how much more the pages make it.
 */
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { parseArgs } from "node:util";
import { formatBytes } from "../src/stages/atoms.ts";
import { printTable } from "./contest.ts";
import { bin, buildWhenChanged } from "./job.ts";
import { leanEnv, leanFlags } from "./lean.ts";
import { measure } from "./measure.ts";

const { values } = parseArgs({
  options: { pages: { type: "string", default: "1000,100000,1000000" } },
});
const counts = values.pages.split(",").map(Number);
const many = new Intl.NumberFormat("en");
const commitPages = join(import.meta.dirname, "commit-pages.ts");
buildWhenChanged();

const lines: string[][] = [];
let least: number | undefined;
for (const pages of counts) {
  const folder = await mkdtemp(join(tmpdir(), "spillway-commit-"));
  try {
    const node = `${process.execPath} ${leanFlags.join(" ")}`;
    await measure(`${process.execPath} ${commitPages} make ${pages} ${folder}`);
    const commit = await measure(`${node} ${commitPages} commit ${pages} ${folder}`, {
      env: leanEnv,
    });
    const verify = await measure(
      `${process.execPath} ${bin} verify ${join(folder, "out")} --level bytes`,
    );
    least ??= commit.peakRssBytes;
    lines.push([
      many.format(pages),
      commit.seconds.toFixed(1),
      formatBytes(commit.peakRssBytes),
      formatBytes(commit.peakRssBytes - least),
      verify.seconds.toFixed(1),
      formatBytes(verify.peakRssBytes),
    ]);
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}
printTable([
  ["pages", "commit s", "peak", "more than the first", "verify s", "peak of verify"],
  ...lines,
]);

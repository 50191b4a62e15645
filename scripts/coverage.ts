/**
 * How much of src/ the whole suite reaches, with all the commands and threads it starts: `npm run coverage:all`.
 *
 * Prints lines and branches of each folder and of each file that is not covered whole; fails where a test does, or below the
 * thresholds. It takes half an hour; `npm run coverage` holds the durable core alone to all of it.
 */
import { spawnSync } from "node:child_process";
import { globSync, readFileSync, utimesSync } from "node:fs";
import { stripTypeScriptTypes } from "node:module";
import { join } from "node:path";

const least = { branches: 95, lines: 95 };

const root = join(import.meta.dirname, "..");
/** Inspecting its own process ends the count of that process, so that this one gets a process of its own. */
const inspects = "test/cli/live-profile.test.ts";
/** Counting slows down what is counted. */
const mocha = "mocha --no-parallel --timeout 120000";
const suite = `${mocha} --ignore ${inspects} && ${mocha} --no-config ${inspects}`;

// What was built is not what is counted: where a source is newer, commands run from the sources.
utimesSync(join(root, "src", "cli", "main.ts"), new Date(), new Date());
const limits = Object.entries(least).map(([what, percent]) => `--${what}=${percent}`);
// Of a file that holds types alone nothing is left to run, and all of it would count as missed.
const typesOnly = globSync("src/**/*.ts", { cwd: root }).filter(
  (path) => withoutComments(stripTypeScriptTypes(readFileSync(join(root, path), "utf8"))) === "",
);
const left = typesOnly.map((path) => `--exclude=${path}`);
const options = ["--include=src/**", ...left, "--merge-async", "--skip-full", ...limits];
const { status } = spawnSync("c8", [...options, "sh", "-c", suite], {
  cwd: root,
  stdio: "inherit",
});
process.exitCode = status ?? 1;

function withoutComments(code: string): string {
  return code.replaceAll(/\/\*.*?\*\/|\/\/[^\n]*|;/gs, "").trim();
}

/**
 * Proves that the tests would notice: plants one bug after another in a copy of the sources and expects a failure.
 *
 *   npm run prove:mutations                  all of them, and docs/mutations.md is written anew
 *   npm run prove:mutations -- --only lock   those whose description or file holds `lock`
 *
 * A bug that no test notices is a survivor: a test is missing. Before anything is planted, each named test must pass.
 */
import { spawn } from "node:child_process";
import { cp, mkdir, mkdtemp, readFile, rm, symlink, writeFile } from "node:fs/promises";
import { stripTypeScriptTypes } from "node:module";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { parseArgs } from "node:util";
import { mutations } from "./mutations/list.ts";
import type { Mutation, Planted } from "./mutations/mutation.ts";
import { mutationsPage } from "./mutations/page.ts";

const root = join(import.meta.dirname, "..");
/** What is said of a change that does not even run. */
const broken = "the list itself has a bug";
/** A bug may make tests hang; then they are ended, and it is caught. */
const hangsMillis = 300_000;
/** What tests need; results of builds are left out, so that commands run from the sources. */
const copied = ["bin", "docs", "examples", "prove", "scripts", "src", "test", "package.json"];

export const allMutations = (): readonly Mutation[] => Object.values(mutations).flat();

/** What of the list has rotted: a place that is not there exactly once, or a change that is no TypeScript. */
export async function findRot(list: readonly Mutation[]): Promise<string[]> {
  const rot: string[] = [];
  for (const mutation of list) {
    const text = await readFile(join(root, mutation.file), "utf8").catch(() => "");
    const places = text.split(mutation.find).length - 1;
    if (places === 1) {
      try {
        stripTypeScriptTypes(plant(text, mutation));
      } catch {
        rot.push(`${mutation.bug}: what it makes of ${mutation.file} is no TypeScript`);
      }
    } else rot.push(`${mutation.bug}: its place is ${places} times in ${mutation.file}`);
    for (const test of mutation.caughtBy) {
      const found = await readFile(join(root, test)).catch(() => undefined);
      if (!found) rot.push(`${mutation.bug}: there is no ${test}`);
    }
  }
  return rot;
}

const plant = (text: string, { find, replace }: Mutation): string =>
  text.replace(find, () => replace);

/** Plants each bug alone and runs its tests, in copies of their own; the sources themselves are not touched. */
export async function proveMutations(
  list: readonly Mutation[],
  onResult: (result: Planted) => void = () => {},
  lanes = 1,
): Promise<readonly Planted[]> {
  const folder = await mkdtemp(join(tmpdir(), "spillway-mutations-"));
  const results: Planted[] = [];
  const sound = new Map<string, Promise<void>>();
  const left = list.values();
  const work = async (copy: string) => {
    await copySources(copy);
    for (const mutation of left) {
      for (const test of mutation.caughtBy) {
        if (!sound.has(test)) sound.set(test, expectSound(copy, test));
        await sound.get(test);
      }
      const result = { mutation, caught: await tryMutation(copy, mutation) };
      results.push(result);
      onResult(result);
    }
  };
  try {
    await Promise.all(Array.from({ length: lanes }, (_, lane) => work(join(folder, `${lane}`))));
    return results;
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}

async function copySources(copy: string): Promise<void> {
  for (const name of copied) await cp(join(root, name), join(copy, name), { recursive: true });
  await symlink(join(root, "node_modules"), join(copy, "node_modules"));
}

async function expectSound(copy: string, test: string): Promise<void> {
  const failed = await firstFailure(copy, [test]);
  if (failed) throw new Error(`${test} fails before anything is planted: ${failed}`);
}

async function tryMutation(copy: string, mutation: Mutation): Promise<string | undefined> {
  const path = join(copy, mutation.file);
  const text = await readFile(path, "utf8");
  await writeFile(path, plant(text, mutation));
  try {
    for (const test of mutation.caughtBy) {
      const failed = await firstFailure(copy, [test]);
      if (failed) return `${test}: ${failed}`;
    }
    return undefined;
  } finally {
    await writeFile(path, text);
  }
}

interface MochaReport {
  readonly failures: readonly { readonly fullTitle: string; readonly err: { message?: string } }[];
}

/** @returns the title of the first test that fails; undefined when all pass */
async function firstFailure(copy: string, tests: readonly string[]): Promise<string | undefined> {
  await mkdir(join(copy, "out"), { recursive: true });
  const output = join(copy, "out", "report.json");
  await rm(output, { force: true });
  const mocha = join(root, "node_modules", "mocha", "bin", "mocha.js");
  const how = "--no-config --bail --timeout 60000 --exit --reporter json --reporter-option".split(
    " ",
  );
  const args = [mocha, ...how, `output=${output}`, ...tests];
  const child = spawn(process.execPath, args, { cwd: copy, stdio: "ignore", detached: true });
  const ended = Promise.withResolvers<number | null>();
  child.on("exit", (code) => ended.resolve(code));
  const timer = setTimeout(() => process.kill(-child.pid!, "SIGKILL"), hangsMillis);
  const code = await ended.promise.finally(() => clearTimeout(timer));
  if (code === 0) return undefined;
  const report = await readFile(output, "utf8").catch(() => undefined);
  const [failure] = report === undefined ? [] : (JSON.parse(report) as MochaReport).failures;
  if (!failure) return code === null ? "does not end" : "ends before its tests";
  if (/ReferenceError|SyntaxError|is not a function/.test(failure.err.message ?? ""))
    return `${broken} (${failure.err.message})`;
  return failure.fullTitle;
}

if (import.meta.main) {
  const { values } = parseArgs({
    options: { only: { type: "string" }, lanes: { type: "string", default: "2" } },
  });
  const { only = "" } = values;
  const list = allMutations().filter(({ bug, file }) => `${bug} ${file}`.includes(only));
  const rot = await findRot(list);
  for (const line of rot) process.stdout.write(`${line}\n`);
  if (rot.length > 0) process.exit(1);
  const tell = ({ mutation, caught }: Planted) =>
    process.stderr.write(`${caught ? "caught" : "SURVIVED"}  ${mutation.bug}  ${caught ?? ""}\n`);
  const results = await proveMutations(list, tell, Number(values.lanes));
  const survivors = results.filter(({ caught }) => !caught || caught.includes(broken));
  if (only === "") await writeFile(join(root, "docs", "mutations.md"), mutationsPage(results));
  process.stdout.write(
    `${results.length} planted, ${results.length - survivors.length} caught, survivors: ` +
      `${survivors.map(({ mutation }) => mutation.bug).join("; ") || "none"}\n`,
  );
  process.exitCode = survivors.length > 0 ? 1 : 0;
}

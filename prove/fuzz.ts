/**
 * Proves that no bytes from outside break spillway: whatever comes is understood or refused by name.
 *
 *   npm run prove:fuzz -- --class json --cases 1000000 --seed 7
 *   npm run prove:fuzz -- --class json --seed 7 --case 4711      replays one case, and prints it
 *
 * Every case is a valid seed changed in a few places, or noise. A case holds when it gives a result that an independent
 * look finds right, or a PipelineError; when it takes less than a second; when memory stays bounded; when no error goes
 * unheard and no prototype is changed.
 */
import { setImmediate as nextTurn } from "node:timers/promises";
import { PipelineError } from "../src/errors.ts";
import { readOptions } from "./command-line.ts";
import { createChance, mutate, seedOf } from "./fuzz/chance.ts";
import { fuzzClasses } from "./fuzz/classes.ts";
import type { FuzzClass } from "./fuzz/fuzz-class.ts";
import { prototypesNow, tellMemory, watchForHangs } from "./fuzz/watch.ts";

export interface FuzzOptions {
  readonly name: string;
  readonly cases: number;
  readonly seed: number;
  /** The case to begin with. */
  readonly from?: number;
  readonly onFailure?: (line: string) => void;
}

export interface FuzzReport {
  readonly name: string;
  readonly cases: number;
  readonly seed: number;
  /** Cases that were understood, not refused. */
  readonly understood: number;
  readonly failures: readonly string[];
  readonly seconds: number;
}

const mostMillis = 1000;
const hangMillis = 20_000;
const mostFailures = 20;
const casesPerTurn = 32;

/** Runs cases of one class one after another, until too many have failed. */
export async function proveFuzz(options: FuzzOptions): Promise<FuzzReport> {
  const { name, cases, seed, from = 0, onFailure } = options;
  const failures: string[] = [];
  let now = from;
  const fail = (what: string) => {
    failures.push(`case ${now}: ${what}`);
    onFailure?.(failures.at(-1)!);
  };
  const unheard = (error: unknown) => fail(`unheard: ${describe(error)}`);
  process.on("unhandledRejection", unheard);
  process.on("uncaughtException", unheard);
  const memory = tellMemory();
  const hangs = watchForHangs(`--class ${name} --seed ${seed}`, hangMillis);
  const before = prototypesNow();
  const started = performance.now();
  const made = await fuzzClasses[name]!();
  let understood = 0;
  try {
    for (; now < from + cases && failures.length < mostFailures; now += 1) {
      hangs.begin(now);
      const verdict = await runCase(made, { name, seed, nth: now });
      if (verdict === "understood") understood += 1;
      else if (verdict !== "refused") fail(verdict);
      if (now % casesPerTurn !== 0) continue;
      await nextTurn();
      const found =
        memory() ?? (prototypesNow() === before ? undefined : "a prototype was changed");
      if (found !== undefined) fail(found);
    }
    await nextTurn();
  } finally {
    hangs.end();
    await made.close?.();
    process.off("unhandledRejection", unheard);
    process.off("uncaughtException", unheard);
  }
  const seconds = (performance.now() - started) / 1000;
  return { name, cases: now - from, seed, understood, failures, seconds };
}

interface Case {
  readonly name: string;
  readonly seed: number;
  readonly nth: number;
}

/** The bytes of a case, and the chance that goes on behind them. */
function makeCase(made: FuzzClass, { name, seed, nth }: Case) {
  const chance = createChance(seedOf(seed, name, nth));
  return { chance, bytes: made.make?.(chance) ?? mutate(chance, made.seeds) };
}

/** @returns `understood`, `refused`, or what is wrong */
async function runCase(made: FuzzClass, which: Case): Promise<string> {
  const { verdict, millis } = await timeCase(made, which);
  if (millis <= mostMillis) return verdict;
  // The machine may have been busy elsewhere: slow is what is slow again.
  const again = await timeCase(made, which);
  return again.millis > mostMillis ? `takes ${Math.round(again.millis)} ms` : again.verdict;
}

async function timeCase(made: FuzzClass, which: Case) {
  const { chance, bytes } = makeCase(made, which);
  const started = performance.now();
  let verdict = "understood";
  try {
    const running = made.run(bytes, chance);
    if (running instanceof Promise && (await endsInTime(running)) === "late")
      verdict = `does not end within ${hangMillis} ms`;
  } catch (error) {
    verdict =
      error instanceof PipelineError && error.code !== "internal" ? "refused" : describe(error);
  }
  return { verdict, millis: performance.now() - started };
}

function endsInTime(running: Promise<unknown>): Promise<unknown> {
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise((resolve) => (timer = setTimeout(resolve, hangMillis / 2, "late")));
  return Promise.race([running, late]).finally(() => clearTimeout(timer));
}

function describe(error: unknown): string {
  if (!(error instanceof Error)) return `threw ${typeof error}`;
  const [, ...lines] = (error.stack ?? "").split("\n");
  const place = lines.find((line) => line.includes("/src/")) ?? lines[0] ?? "";
  return `${error.name}: ${error.message.slice(0, 300)} ${place.trim()}`;
}

async function replay(name: string, which: Case): Promise<void> {
  const made = await fuzzClasses[name]!();
  const { bytes } = makeCase(made, which);
  process.stdout.write(`${bytes.length} bytes: ${JSON.stringify(bytes.toString("latin1"))}\n`);
  await made.close?.();
}

if (import.meta.main) {
  const values = readOptions({ class: "all", cases: 20_000, case: undefined });
  const { seed } = values;
  const one = values.case === undefined ? undefined : Number(values.case);
  const names = values.class === "all" ? Object.keys(fuzzClasses) : values.class.split(",");
  for (const name of names) {
    if (!(name in fuzzClasses))
      throw new Error(`no class ${name}; known are ${Object.keys(fuzzClasses).join(", ")}`);
    if (one !== undefined) await replay(name, { name, seed, nth: one });
    const cases = one === undefined ? values.cases : 1;
    const onFailure = (line: string) => process.stdout.write(`${name}, ${line}\n`);
    const report = await proveFuzz({ name, cases, seed, from: one ?? 0, onFailure });
    const rate = Math.round(report.cases / report.seconds);
    process.stdout.write(
      `${name}: ${report.cases} trials, ${report.failures.length} failures, seed ${seed} ` +
        `(${report.understood} understood, ${rate} a second)\n`,
    );
    if (report.failures.length > 0) process.exitCode = 1;
  }
}

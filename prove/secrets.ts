/**
 * Proves that no secret and no row leaves by a side door: every kind of secret is a canary, every command is run through
 * its successes and failures, and all it says, writes and sends is searched for them.
 *
 *   npm run prove:secrets -- --seed 7
 *
 * What is searched must be able to find: every canary is planted in every form, and a pipeline that leaks on purpose
 * has to be found out in every sink.
 */
import { readOptions, tellFailures, tellProgress } from "./command-line.ts";
import { createScanner, formsOf, type Canary, type Scanner } from "./secrets/canaries.ts";
import { writeCases } from "./secrets/cases.ts";
import { leak, leakySinks } from "./secrets/leaks.ts";
import { openScene, type Scene } from "./secrets/scene.ts";
import type { SecretCase } from "./secrets/secret-case.ts";
import { runCase, type Captured } from "./secrets/sinks.ts";
import { seededRandom } from "./seeded.ts";

export interface SecretTrials {
  readonly seed: number;
  readonly rows: number;
  /** Only the commands that stand for all. */
  readonly few: boolean;
  readonly onCase?: (line: string) => void;
}

export interface SecretReport {
  readonly seed: number;
  readonly commands: number;
  readonly canaries: number;
  readonly patterns: number;
  /** Kinds of places that were searched. */
  readonly sinks: readonly string[];
  readonly bytes: number;
  /** Planted patterns and sinks of the leaking pipeline that were found. */
  readonly planted: { readonly found: number; readonly of: number };
  readonly failures: readonly string[];
}

/** Runs all commands one after another; gives every canary that was found where it must not be. */
export async function proveSecrets(trials: SecretTrials): Promise<SecretReport> {
  const { seed, rows, few, onCase } = trials;
  const scene = await openScene(seededRandom(seed), rows);
  try {
    const scanner = createScanner(scene.canaries);
    const failures: string[] = [];
    const sinks = new Set<string>();
    let bytes = 0;
    const cases = (await writeCases(scene)).filter((one) => !few || one.isFew);
    for (const one of cases) {
      one.before?.();
      const { exit, captured } = await runCase(scene, one);
      one.after?.();
      const found = new Set(captured.flatMap((what) => search(scanner, what, one)));
      if (exit !== one.exit)
        found.add(`ended with ${exit} instead of ${one.exit}: ${said(captured)}`);
      for (const what of found) failures.push(`${one.name}: ${what}`);
      for (const what of captured) {
        sinks.add(what.sink);
        bytes += what.bytes.length;
      }
      onCase?.(`${one.name}: ${found.size === 0 ? "nothing found" : [...found].join("; ")}`);
    }
    const leaked = await findLeaks(scene, scanner);
    const planted = findPlanted(scene.canaries, scanner);
    failures.push(...leaked.missed.map((sink) => `a leak on purpose was not found in ${sink}`));
    failures.push(...planted.missed.map((form) => `a planted canary was not found: ${form}`));
    return {
      seed,
      commands: cases.length,
      canaries: scene.canaries.length,
      patterns: scanner.patterns,
      sinks: [...sinks].toSorted(),
      bytes,
      planted: {
        found: planted.found + leaked.found,
        of: planted.found + leaked.found + planted.missed.length + leaked.missed.length,
      },
      failures,
    };
  } finally {
    await scene.close();
  }
}

/** Standard error, to explain a command that ended otherwise than it should: searched before, so it holds no secret. */
const said = (captured: readonly Captured[]): string =>
  captured
    .findLast(({ sink }) => sink === "standard error")
    ?.bytes.toString()
    .slice(0, 500) ?? "";

function search(scanner: Scanner, { sink, bytes }: Captured, one: SecretCase): string[] {
  const areRows = sink === "files in restored" || (one.printsRows && sink === "standard output");
  return scanner
    .scan(bytes)
    .filter(({ canary }) => !(areRows && canary === "row"))
    .map(({ canary, form }) => `${canary} (${form}) in ${sink}`);
}

/** The same search over a pipeline that gives its rows away wherever it can. */
async function findLeaks(scene: Scene, scanner: Scanner) {
  const leaking = await leak(scene);
  leaking.before?.();
  const { captured } = await runCase(scene, leaking);
  const found = new Set(
    captured.filter(({ bytes }) => scanner.scan(bytes).length > 0).map(({ sink }) => sink),
  );
  const missed = leakySinks.filter((sink) => !found.has(sink));
  return { found: leakySinks.length - missed.length, missed };
}

function findPlanted(canaries: readonly Canary[], scanner: Scanner) {
  const missed: string[] = [];
  let found = 0;
  for (const canary of canaries)
    for (const [form, bytes] of formsOf(canary)) {
      const noise = Buffer.concat([Buffer.from("…{"), bytes, Buffer.from("\0…")]);
      if (scanner.scan(noise).length > 0) found += 1;
      else missed.push(`${canary.name}, ${form}`);
    }
  return { found, missed };
}

if (import.meta.main) {
  const values = readOptions({ rows: 1500, few: false });
  const report = await proveSecrets({
    ...values,
    onCase: tellProgress,
  });
  const { commands, canaries, patterns, sinks, bytes, planted, failures, seed } = report;
  tellFailures(failures);
  process.stderr.write(`searched: ${sinks.join(", ")}\n`);
  process.stdout.write(
    `${commands} commands, ${canaries} canaries in ${patterns} patterns, ${sinks.length} kinds of sinks, ` +
      `${Math.round(bytes / 1e6)} MB searched, planted ${planted.found} of ${planted.of} found, ` +
      `${failures.length} failures, seed ${seed}\n`,
  );
}

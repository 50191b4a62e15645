/** The command lines of proofs, `--trials 5 --seed 7 --all`, and how a proof says that it has failed. */
import { parseArgs } from "node:util";

type Default = number | boolean | string | undefined;

type Given<Defaults> = {
  readonly [Name in keyof Defaults]: Defaults[Name] extends number
    ? number
    : Defaults[Name] extends boolean
      ? boolean
      : Defaults[Name] extends string
        ? string
        : string | undefined;
};

/**
 * Reads options. What stands for one that is not given says what it is: a number, a flag (`false`) or a text, which may
 * be missing (`undefined`). A seed is always among them, and another one each time.
 */
export function readOptions<Defaults extends Readonly<Record<string, Default>>>(
  defaults: Defaults,
): Given<Defaults> & { readonly seed: number } {
  const all: Readonly<Record<string, Default>> = { seed: Date.now() % 1e6, ...defaults };
  const kinds = Object.entries(all).map(([name, standing]) => {
    const type = typeof standing === "boolean" ? ("boolean" as const) : ("string" as const);
    return [name, { type }] as const;
  });
  const { values } = parseArgs({ options: Object.fromEntries(kinds) });
  const given = Object.entries(all).map(([name, standing]) => {
    const value = values[name] ?? standing;
    if (typeof standing !== "number") return [name, value];
    if (Number.isNaN(Number(value))) throw new Error(`expected a number behind --${name}`);
    return [name, Number(value)];
  });
  return Object.fromEntries(given) as Given<Defaults> & { readonly seed: number };
}

/** Tells how far a proof is, beside its report. */
export const tellProgress = (line: string): void => void process.stderr.write(`${line}\n`);

/** Prints what has failed; with anything the process ends as one that failed. */
export function tellFailures(failures: readonly string[]): void {
  for (const failure of failures) process.stdout.write(`${failure}\n`);
  process.exitCode = failures.length > 0 ? 1 : 0;
}

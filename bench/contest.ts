/** Contenders take turns, round by round, so that what disturbs the machine disturbs all of them; then a table. */
import { readFile, rename } from "node:fs/promises";
import { systemCode } from "../src/errors.ts";
import { measure, median, type Measured, type MeasureOptions } from "./measure.ts";

export interface Contender {
  readonly name: string;
  readonly script: string;
  /** What a run leaves, in the folder that the benchmark removes at its end. */
  readonly leaves?: string;
  /** A JSON file the script writes, whose `seconds` count instead of ours: the program's own, without its start. */
  readonly ownSeconds?: string;
}

export type Rounds<Name extends string> = Readonly<Record<Name, readonly Measured[]>>;

/** Runs every contender once a round; a first round warms caches and is not counted. */
export async function contest<Name extends string>(
  contenders: Readonly<Record<Name, Contender>>,
  runs: number,
  options: MeasureOptions,
): Promise<Rounds<Name>> {
  const entries = Object.entries(contenders) as [Name, Contender][];
  const rounds = Object.fromEntries(entries.map(([key]) => [key, []])) as unknown as Record<
    Name,
    Measured[]
  >;
  for (let run = 0; run <= runs; run += 1) {
    for (const [key, contender] of entries) {
      const measured = await runOnce(contender, options);
      if (contender.leaves) await moveAway(contender.leaves, `${key}-${run}`);
      process.stderr.write(`${run}/${runs} ${measured.seconds.toFixed(2)} s ${contender.name}\n`);
      if (run > 0) rounds[key].push(measured);
    }
  }
  return rounds;
}

async function runOnce(contender: Contender, options: MeasureOptions): Promise<Measured> {
  const { script, ownSeconds } = contender;
  const measured = await measure(script, options);
  const own = ownSeconds && (JSON.parse(await readFile(ownSeconds, "utf8")) as Measured);
  return own ? { ...measured, seconds: own.seconds } : measured;
}

/**
 * Out of the next run's way, and not yet removed: ext4 without a journal looks over all files that were deleted in the last
 * minutes when it creates one, so whoever comes next would pay for it.
 */
async function moveAway(path: string, turn: string): Promise<void> {
  await rename(path, `${path}-${turn}`).catch((error: unknown) => {
    if (systemCode(error) !== "ENOENT") throw error;
  });
}

/** The median over the rounds of one figure. */
export const medianOf = (
  rounds: readonly Measured[],
  figure: (measured: Measured) => number,
): number => median(rounds.map(figure));

/** The median of a figure's ratio round by round: what slows a whole round down cancels out. */
export const ratioOf = (
  over: readonly Measured[],
  under: readonly Measured[],
  figure: (measured: Measured) => number = ({ seconds }) => seconds,
): number => median(over.map((measured, round) => figure(measured) / figure(under[round]!)));

/** Prints a Markdown table, the first row its head. */
export function printTable(rows: readonly (readonly string[])[]): void {
  const [head = [], ...body] = rows;
  // A bar inside a cell would end it.
  const line = (cells: readonly string[]) =>
    process.stdout.write(`| ${cells.map((cell) => cell.replaceAll("|", "\\|")).join(" | ")} |\n`);
  line(head);
  line(head.map(() => "---"));
  for (const cells of body) line(cells);
  process.stdout.write("\n");
}

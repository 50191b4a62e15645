/** What `bench/export` prints: everybody's figures, and the goals with what was reached. */
import { medianOf, printTable, ratioOf, type Contender, type Rounds } from "./contest.ts";
import type { Measured } from "./measure.ts";

export interface Size {
  readonly rows: number;
  /** As NDJSON. */
  readonly bytes: number;
}

const cpu = ({ clientSeconds, serverSeconds }: Measured) => clientSeconds + serverSeconds;
const times = (ratio: number) => `${ratio.toFixed(2)} ×`;
const MiB = 2 ** 20;

export function printContest(
  contenders: Readonly<Record<string, Contender>>,
  rounds: Rounds<string>,
  { rows, bytes }: Size,
): void {
  const head = [
    "",
    "wall s",
    "MB/s",
    "krow/s",
    "client CPU s",
    "server CPU s",
    "peak MiB",
    "ours is faster by",
  ];
  const lines = Object.entries(contenders).map(([key, { name }]) => {
    const measured = rounds[key]!;
    const seconds = medianOf(measured, ({ seconds }) => seconds);
    return [
      name.includes("|") ? `\`${name}\`` : name,
      seconds.toFixed(2),
      (bytes / seconds / 1e6).toFixed(0),
      (rows / seconds / 1e3).toFixed(0),
      medianOf(measured, ({ clientSeconds }) => clientSeconds).toFixed(1),
      medianOf(measured, ({ serverSeconds }) => serverSeconds).toFixed(1),
      (medianOf(measured, ({ peakRssBytes }) => peakRssBytes) / MiB).toFixed(0),
      times(ratioOf(measured, rounds["ours"]!)),
    ];
  });
  printTable([head, ...lines]);
}

interface Goal {
  readonly goal: string;
  readonly wanted: string;
  /** Of one of our forms, with its own rounds. */
  readonly reached: (ours: readonly Measured[]) => number;
  readonly show: (value: number) => string;
  readonly isReached: (value: number) => boolean;
}

/** Each size of page against every goal; a figure in bold has reached it. */
export function printGoals(table: "results" | "obs", rounds: Rounds<string>, size: Size): void {
  const goals = goalsOf(table, rounds, size);
  const lines = goals.map(({ goal, wanted, reached, show, isReached }) => {
    const cells = ["ours", "double", "wide"].map((form) => {
      const value = reached(rounds[form]!);
      return isReached(value) ? `**${show(value)}**` : show(value);
    });
    return [goal, wanted, ...cells];
  });
  printTable([["goal", "wanted", "pages of 1 MiB", "2 MiB", "4 MiB"], ...lines]);
  if (table === "obs") return;
  const forms = ["csv", "copy"] as const;
  const csvPeers = ["csvShell", "csvShell3", "csvNull"] as const;
  printTable([
    [
      "our CSV against",
      "csv | zstd -1 | age | split",
      "csv | zstd -3 | age | split",
      "csv > /dev/null",
    ],
    ...forms.map((form) => [
      form === "csv" ? "serialize: csv" : "postgres-copy: csv",
      ...csvPeers.map((peer) => times(ratioOf(rounds[peer]!, rounds[form]!))),
    ]),
  ]);
}

function goalsOf(table: "results" | "obs", rounds: Rounds<string>, { bytes }: Size): Goal[] {
  const least = (goal: string, peer: string, wanted: number): Goal => ({
    goal: `faster than ${goal}`,
    wanted: `≥ ${wanted} ×`,
    reached: (ours) => ratioOf(rounds[peer]!, ours),
    show: times,
    isReached: (value) => value >= wanted,
  });
  const common: Goal[] = [
    {
      goal: "CPU of client and server per GB",
      wanted: "≤ 6.5 s",
      reached: (ours) => medianOf(ours, cpu) / (bytes / 1e9),
      show: (value) => `${value.toFixed(1)} s`,
      isReached: (value) => value <= 6.5,
    },
    {
      goal: "CPU against `row_to_json | zstd -1 | age | split`",
      wanted: "≤ 0.45 ×",
      reached: (ours) => ratioOf(ours, rounds["jsonShell"]!, cpu),
      show: times,
      isReached: (value) => value <= 0.45,
    },
    {
      goal: "share of its own source's speed",
      wanted: "≥ 75 %",
      reached: (ours) => 100 * ratioOf(rounds["source"]!, ours),
      show: (value) => `${value.toFixed(0)} %`,
      isReached: (value) => value >= 75,
    },
    {
      goal: "peak RSS with telemetry",
      wanted: "≤ 90 MiB",
      reached: (ours) => medianOf(ours, ({ peakRssBytes }) => peakRssBytes) / MiB,
      show: (value) => `${value.toFixed(0)} MiB`,
      isReached: (value) => value <= 90,
    },
  ];
  const book = least("the textbook, batched", "textbook", 7);
  const json = least("`row_to_json | zstd -1 | age | split`, same bytes", "jsonShell", 2.7);
  if (table === "results") {
    return [
      json,
      least("`csv | zstd -1 | age | split`", "csvShell", 1.5),
      least("`csv > /dev/null`", "csvNull", 1.35),
      book,
      ...common,
    ];
  }
  return [
    least("`text | zstd -1 | age | split`", "textShell", 1.1),
    least("`text > /dev/null`", "textNull", 1),
    ...common.slice(0, 1),
    ...common.slice(2),
  ];
}

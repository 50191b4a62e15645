/** The demo as it is told: numbered sections, facts in columns, a few rows as a table. */
import type { RunSummary } from "../pipeline/summary.ts";
import { formatBytes, formatDuration } from "../stages/atoms.ts";
import type { Row } from "../stages/nouns.ts";
import { alignColumns, cut, formatCount, harmless, textWidth } from "./screen.ts";
import type { Paint } from "./verb.ts";

export interface Story {
  section(title: string): void;
  /** Names and facts below the section, aligned. */
  facts(facts: readonly (readonly [name: string, fact: string])[]): void;
  lines(lines: readonly string[]): void;
}

export function tellStory(write: (text: string) => void, { bold, dim, cyan }: Paint): Story {
  let number = 0;
  return {
    section(title) {
      number += 1;
      write(`\n${cyan(String(number))}  ${bold(title)}\n`);
    },
    facts(facts) {
      const rows = facts.map(([name, fact]) => [dim(name.padEnd(9)), fact]);
      for (const line of alignColumns(rows, { indent: 3 })) write(`${line}\n`);
    },
    lines(lines) {
      for (const line of lines) write(line === "" ? "\n" : `   ${line}\n`);
    },
  };
}

export function exportFacts(summary: RunSummary, { bold, green, yellow }: Paint) {
  const { rows, seconds, pages, bytesIn, bytesOut, peakRssBytes, memoryBudgetBytes } = summary;
  const isWithin = peakRssBytes <= memoryBudgetBytes;
  const memory = `${formatBytes(peakRssBytes)} of ${formatBytes(memoryBudgetBytes)}`;
  return [
    ["rows", `${bold(formatCount(rows))} in ${formatDuration(seconds * 1000)}`],
    [
      "speed",
      `${bold(`${formatBytes(bytesIn / seconds)}/s`)}, ${formatCount(rows / seconds)} rows/s`,
    ],
    ["pages", `${pages}, ${formatBytes(bytesIn)} → ${formatBytes(bytesOut)} compressed and sealed`],
    [
      "memory",
      `${bold(memory)} at peak, ${isWithin ? green("within the budget") : yellow("above the budget")}`,
    ],
  ] as const;
}

const widestCell = 36;

/** Rows as a table as wide as the terminal: what does not fit is named below it. */
export function rowTable(rows: readonly Row[], { width, dim }: Paint, indent: number): string[] {
  const names = Object.keys(rows[0] ?? {});
  const columns = names.map((name) => {
    const cells = [harmless(name), ...rows.map((row) => printCell(row[name]))];
    return cells.map((cell) => cut(cell, widestCell));
  });
  const shown: string[][] = [];
  let used = indent;
  for (const column of columns) {
    used += Math.max(...column.map(textWidth)) + 2;
    if (used > width) break;
    shown.push(column);
  }
  const lines = [...rows.keys(), rows.length].map((line) =>
    shown.map((column) => (line === 0 ? dim(column[0] ?? "") : (column[line] ?? ""))),
  );
  const rest = names.slice(shown.length).map(harmless);
  return [
    ...alignColumns(lines, { indent: 0 }),
    ...(rest.length > 0 ? [dim(`… and the columns ${rest.join(", ")}`)] : []),
  ];
}

/** Texts as they are, everything else as JSON: exact digits stay what they were. */
function printCell(value: unknown): string {
  const text =
    typeof value === "string" ? JSON.stringify(value).slice(1, -1) : JSON.stringify(value);
  return harmless(text ?? "");
}

/** The end of a run, for people: what was exported, how fast, within which memory, and how to read it without us. */
import type { RunSummary } from "../pipeline/summary.ts";
import { takesRows } from "../stages/destinations/schemes.ts";
import { formatBytes, formatDuration } from "../stages/atoms.ts";
import { alignColumns, formatCount, formatCounted } from "./screen.ts";
import { shellWord, stockCommands } from "./stock-commands.ts";
import type { Paint } from "./verb.ts";

export function runReportText(summary: RunSummary, paint: Paint): string {
  const { pipeline, rows, seconds } = summary;
  const { green, bold, dim } = paint;
  const title = `${green("✔")} ${bold(pipeline)}: ${bold(formatCounted(rows, "row"))} committed in ${formatDuration(seconds * 1000)}`;
  const facts = alignColumns(factsOf(summary, paint).map(([name, fact]) => [dim(name), fact]));
  // Rows of a table are read as such.
  if (takesRows(summary.destination)) return [title, "", ...facts].join("\n");
  const { enter, check, restore } = stockCommands(summary);
  const verify = `spillway verify ${shellWord(summary.destination)} --signer ${summary.signer}`;
  const commands = [
    ["verify", verify],
    ["or check", `${enter} && ${check}`],
    ["restore", restore],
  ].map(([name = "", command = ""]) => [dim(name), command]);
  return [title, "", ...facts, "", ...alignColumns(commands)].join("\n");
}

function factsOf(summary: RunSummary, paint: Paint): [string, string][] {
  const { runId, resumedFrom, pages, bytesIn, bytesOut, seconds, destination, rejected } = summary;
  const ratio = bytesOut > 0 ? ` (${(bytesIn / bytesOut).toFixed(1)} : 1)` : "";
  const facts: [string, string][] = [
    ["run", runId + (resumedFrom ? paint.dim(" (went on where an earlier attempt stopped)") : "")],
    [
      "pages",
      `${formatCount(pages)}, ${formatBytes(bytesIn)} of records → ${formatBytes(bytesOut)} sealed${ratio}`,
    ],
    [
      "rate",
      `${formatCount(summary.rows / seconds)} rows/s, ${formatBytes(bytesIn / seconds)}/s of records`,
    ],
    ["memory", memoryFact(summary, paint)],
    ["consistency", summary.consistency],
  ];
  const slow = summary.stages.find(({ name }) => name === summary.bottleneck);
  if (slow) facts.push(["bottleneck", `${slow.name}, ${slow.busySeconds.toFixed(1)} s of work`]);
  for (const [reason, count] of Object.entries(rejected))
    facts.push(["rejected", paint.yellow(`${formatCounted(count, "row")}: ${reason}`)]);
  if (summary.traceId) facts.push(["trace", summary.traceId]);
  facts.push(["destination", destination]);
  facts.push(["signed by", summary.signer]);
  return facts;
}

function memoryFact({ peakRssBytes, memoryBudgetBytes }: RunSummary, paint: Paint): string {
  const fact = `${formatBytes(peakRssBytes)} at peak, budget ${formatBytes(memoryBudgetBytes)}`;
  if (peakRssBytes <= memoryBudgetBytes) return fact;
  return paint.yellow(`${fact}: above it, by ${formatBytes(peakRssBytes - memoryBudgetBytes)}`);
}

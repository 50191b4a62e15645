/** `spillway plan`: what will run, and what it will hold, before anything is touched. */
import type { PlanReport } from "../pipeline/plan-types.ts";
import type { Pipeline } from "../pipeline/define.ts";
import type { Sample } from "../pipeline/sample.ts";
import { formatBytes } from "../stages/atoms.ts";
import { withoutLiterals } from "../stages/queries/without-literals.ts";
import { interrupted, listenForInterrupt } from "./interrupt.ts";
import { startProgress } from "./progress.ts";
import { alignColumns, drawBar, formatCount, formatCounted } from "./screen.ts";
import type { Call, Paint, Verb } from "./verb.ts";

export const plan: Verb = {
  name: "plan",
  summary: "Show the stages and the memory of a pipeline, without touching source or destination",
  argument: ["<file>", "pipeline in YAML"],
  options: [
    {
      flags: "--sample <rows>",
      description: "read so many rows, and show how many of them each row stage keeps",
      counts: true,
    },
  ],
  examples: ["spillway plan export.yaml", "spillway plan export.yaml --sample 10000"],
  notes: [
    "References (${env:…}, ${file:…}) stay unread; `spillway check` says which of them are missing.",
  ],
  async run(call) {
    const { loadPipeline } = await import("../pipeline/load.ts");
    const { planPipeline } = await import("../pipeline/plan.ts");
    const pipeline = await loadPipeline(call.argument);
    const planned = await planPipeline(pipeline, { resolve: "none", env: call.env });
    const report = withoutValues(planned.report);
    const rows = call.count("sample");
    const sample = rows === undefined ? undefined : await readSample(pipeline, rows, call);
    return {
      document: { ...report, ...(sample && { sample }) },
      text: (paint) => [planText(report, paint), ...sampleText(sample, paint)].join("\n"),
      isData: true,
    };
  },
};

async function readSample(pipeline: Pipeline, rows: number, call: Call): Promise<Sample> {
  const progress = startProgress(call);
  const interrupt = listenForInterrupt(interrupted, () => progress.info("stopping"));
  const log = { info() {}, warn: progress.warn };
  try {
    const { sampleRows } = await import("../pipeline/sample.ts");
    return await sampleRows(pipeline, { rows, log, signal: interrupt.signal, env: call.env });
  } finally {
    interrupt.dispose();
    progress.end();
  }
}

function sampleText(sample: Sample | undefined, { bold, dim, cyan, yellow }: Paint): string[] {
  if (!sample) return [];
  const share = (part: number, whole: number) =>
    whole === 0 ? "-" : `${((100 * part) / whole).toFixed(1)} %`;
  const head = ["Stage", "Read", "Kept", "", "Where"].map(dim);
  const lines = sample.stages.map(({ name, rowsIn, rowsOut, inQuery }) => [
    cyan(name),
    formatCount(rowsIn),
    formatCount(rowsOut),
    share(rowsOut, rowsIn),
    inQuery ? "in the query" : "in JavaScript",
  ]);
  const advice = sample.stages.flatMap((stage) => (stage.advice ? [stage.advice] : []));
  return [
    "",
    bold(`Of the first ${formatCounted(sample.rows, "row")}`),
    ...alignColumns([head, ...lines], { right: [1, 2, 3] }),
    ...advice.map((line) => `  ${yellow(line)}`),
  ];
}

const barWidth = 24;

function planText(report: PlanReport, paint: Paint): string {
  const { bold, dim } = paint;
  return [
    `${bold(report.name)} in ${bold(formatBytes(report.memoryBytes))} of memory, pages of ${formatBytes(report.pageBytes)}`,
    "",
    ...stageTable(report, paint),
    "",
    ...pushedQuery(report, paint),
    bold("Memory"),
    ...ledgerTable(report, paint),
    "",
    bold("Notes"),
    ...report.notes.map((note) => `  ${note}`),
    dim(`  config ${report.configDigest.slice(0, 16)}`),
  ].join("\n");
}

function stageTable({ stages }: PlanReport, { dim, cyan, width }: Paint): string[] {
  const rows = stages.map(({ name, from, takes, gives, holdsBytes }) => [
    cyan(name),
    `${takes} → ${gives}`,
    holdsBytes > 0 ? formatBytes(holdsBytes) : "-",
    from.length > 1 || from[0] !== name ? from.join(" + ") : "",
  ]);
  const head = ["Stage", "Takes → gives", "Holds", "Made of"].map(dim);
  return alignColumns([head, ...rows], { right: [2], width });
}

function withoutValues({ pushed, ...report }: PlanReport): PlanReport {
  if (!pushed) return { ...report, pushed };
  const { before, after } = pushed;
  return {
    ...report,
    pushed: { ...pushed, before: withoutLiterals(before), after: withoutLiterals(after) },
  };
}

/** What was pushed, as `explain` would say it: the query before and after. */
function pushedQuery({ pushed }: PlanReport, { bold, dim }: Paint): string[] {
  if (!pushed) return [];
  const show = (label: string, text: string) =>
    text.split("\n").map((line, i) => `  ${dim((i === 0 ? label : "").padEnd(8))}${line}`);
  return [bold("Query"), ...show("before", pushed.before), ...show("after", pushed.after), ""];
}

function ledgerTable(report: PlanReport, { dim, green, cyan, width }: Paint): string[] {
  const { ledger, memoryBytes } = report;
  const used = ledger.reduce((sum, { bytes }) => sum + bytes, 0);
  const line = (name: string, bytes: number, why: string, paintBar: (bar: string) => string) => [
    name,
    formatBytes(bytes),
    paintBar(drawBar(bytes / memoryBytes, barWidth)),
    dim(why),
  ];
  const lines = ledger.map(({ name, bytes, why }) =>
    line(name, bytes, why, name === "lease" ? green : cyan),
  );
  lines.push(line("free", memoryBytes - used, "nothing asks for it", dim));
  return alignColumns(lines, { right: [1], width });
}

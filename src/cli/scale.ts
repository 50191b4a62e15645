/** `spillway scale`: the pipeline over 10, 100, 1000 … rows, and how the time of each stage grows. */
import type { ScaleReport, StageCurve } from "../pipeline/scale.ts";
import { PipelineError } from "../errors.ts";
import { listenForInterrupt, interrupted } from "./interrupt.ts";
import { startProgress } from "./progress.ts";
import { alignColumns, formatCount } from "./screen.ts";
import type { Paint, Verb } from "./verb.ts";

/** Two tenfold steps: the first shows what a stage costs before its rows. */
const leastRows = 1000;

export const scale: Verb = {
  name: "scale",
  summary:
    "Run a pipeline over 10, 100, 1000 … rows and show which stage grows faster than they do",
  argument: ["<file>", "pipeline in YAML"],
  options: [
    {
      flags: "--most <rows>",
      description: "the largest size, 10,000 when not given",
      counts: true,
    },
  ],
  examples: ["spillway scale export.yaml", "spillway scale export.yaml --most 100000 --json"],
  notes: [
    "Reads the source for real and writes to a temporary folder, which is removed; the pipeline's own spool,",
    "destination and signing key are not touched. Of three runs of each size the quickest counts.",
  ],
  async run(call) {
    const progress = startProgress(call);
    const interrupt = listenForInterrupt(interrupted, () => progress.info("stopping"));
    try {
      const { loadPipeline } = await import("../pipeline/load.ts");
      const { scale: measureScale } = await import("../pipeline/scale.ts");
      const { tuneCompiler } = await import("./optimizer.ts");
      const pipeline = await loadPipeline(call.argument);
      const most = call.count("most");
      if (most !== undefined && most < leastRows)
        throw new PipelineError(
          "config-invalid",
          `scale: --most ${most} shows nothing of growth; expected at least ${leastRows} rows`,
        );
      const report = await measureScale(pipeline, {
        env: call.env,
        signal: interrupt.signal,
        log: { info() {}, warn: progress.warn },
        onPlan: tuneCompiler,
        ...(most !== undefined && { most }),
        onRun: (rows, round) => {
          if (round === 0) progress.info(`${formatCount(rows)} rows`);
        },
      });
      return { document: report, text: (paint) => scaleText(report, paint), isData: true };
    } finally {
      interrupt.dispose();
      progress.end();
    }
  },
};

function scaleText(report: ScaleReport, paint: Paint): string {
  const { bold, dim, width } = paint;
  const head = ["Stage", ...report.sizes.map((rows) => `${formatCount(rows)} rows`), "Grows", ""];
  const lines = report.stages.map((stage) => [
    paint.cyan(stage.name),
    ...stage.seconds.map((seconds) => `${(seconds * 1000).toFixed(1)} ms`),
    stage.exponent === null ? "-" : `rows^${stage.exponent.toFixed(2)}`,
    verdict(stage, paint),
  ]);
  const right = head
    .keys()
    .drop(1)
    .take(report.sizes.length + 1)
    .toArray();
  return [
    `${bold(report.pipeline)}: seconds of work of each stage`,
    "",
    ...alignColumns([head.map(dim), ...lines], { right, width }),
    "",
    ...adviceOn(report),
  ].join("\n");
}

function verdict({ exponent, worseThanLinear }: StageCurve, { green, yellow, dim }: Paint): string {
  if (exponent === null) return dim("not to be told");
  return worseThanLinear ? yellow("worse than linear") : green("linear or better");
}

function adviceOn({ stages, queries }: ScaleReport): string[] {
  const slow = stages.filter(({ worseThanLinear }) => worseThanLinear);
  const lines = slow.map(
    ({ name, exponent }) =>
      `${name}: ten times the rows take ${formatCount(Math.round(10 ** (exponent ?? 1)))} times the time; look for work that grows with what went before`,
  );
  for (const { statement, asked, lookup } of queries) {
    if (asked < 2) continue;
    const advice = lookup ? `; lookup: { query: ${lookup.query}, on: ${lookup.on} }` : "";
    lines.push(`${JSON.stringify(statement)} was asked ${formatCount(asked)} times${advice}`);
  }
  if (lines.length > 0) return lines;
  return stages.some(({ exponent }) => exponent !== null)
    ? ["No stage grows faster than the rows."]
    : ["Too little work to tell; more rows (--most) show more."];
}

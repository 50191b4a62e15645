/** `spillway run`: plan → export → receipt, with progress; stopped cleanly it goes on when called again. */
import { Console } from "node:console";
import { loadPipeline } from "../pipeline/load.ts";
import { run as runPipeline } from "../pipeline/run.ts";
import type { RunState, RunSummary } from "../pipeline/summary.ts";
import { PipelineError } from "../errors.ts";
import { untilAborted } from "../stages/until-aborted.ts";
import { asFailure, failureDocument } from "./failure.ts";
import { listenForInterrupt } from "./interrupt.ts";
import { tuneCompiler } from "./optimizer.ts";
import { startProgress, type ProgressLine } from "./progress.ts";
import { describeProgress } from "./run-progress.ts";
import { runReportText } from "./run-report.ts";
import type { Call, Report, Verb } from "./verb.ts";

const stoppedCode = 75;
const rejectedCode = 3;

export const run: Verb = {
  name: "run",
  summary: "Export what a pipeline file says; after a stop, the same command goes on",
  argument: ["<file>", "pipeline in YAML"],
  options: [{ flags: "--restart", description: "discard an unfinished run and begin a new one" }],
  examples: ["spillway run export.yaml", "spillway run export.yaml --json > summary.json"],
  notes: [
    "Ctrl-C or SIGTERM stops cleanly (exit 75) and keeps what is done; a second one ends it at once (130).",
    "Exit codes: 0 committed, 2 configuration, 4 source, 5 destination, 6 integrity,",
    "7 another run is under way, 75 stopped and resumable, 1 a defect of spillway.",
  ],
  async run(call) {
    // A module of the user's may print; standard output is for our document alone.
    Object.assign(console, new Console(process.stderr, process.stderr));
    const progress = startProgress(call);
    const interrupt = listenForInterrupt(stopped, () =>
      progress.info("stopping; once more ends it at once"),
    );
    let ended = false;
    const work = exportFile(call, progress, interrupt.signal).finally(() => (ended = true));
    try {
      return reportSummary(await Promise.race([work, interrupt.overdue]));
    } catch (error) {
      return { ...reportFailure(asFailure(error)), ...(!ended && { leavesWork: true }) };
    } finally {
      interrupt.dispose();
      progress.end();
    }
  },
};

async function exportFile(
  call: Call,
  progress: ProgressLine,
  signal: AbortSignal,
): Promise<RunSummary> {
  const describe = describeProgress();
  // A module of the user's may take its time, or never be loaded.
  const pipeline = await untilAborted(loadPipeline(call.argument), signal);
  return await runPipeline(pipeline, {
    signal,
    restart: call.flag("restart"),
    log: progress,
    onPlan: tuneCompiler,
    onProgress: (now) => progress.show(describe(now)),
    env: call.env,
  });
}

function reportSummary(summary: RunSummary): Report {
  const hasRejects = Object.keys(summary.rejected).length > 0;
  return {
    document: summary,
    text: (paint) => runReportText(summary, paint),
    ...(hasRejects && { exitCode: rejectedCode }),
  };
}

const stopped = () =>
  new PipelineError(
    "stopped",
    "stopped before the end; what is durable stays so, run the same command to go on",
  );

function reportFailure(failure: PipelineError): Report {
  const state: RunState = failure.exitCode === stoppedCode ? "stopped" : "failed";
  return { document: { ...failureDocument(failure), state }, text: () => "", failure };
}

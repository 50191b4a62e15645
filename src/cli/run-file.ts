/** `spillway run`: plan → export → receipt, with progress; stopped cleanly it goes on when called again. */
import { Console } from "node:console";
import { join } from "node:path";
import { loadPipeline } from "../pipeline/load.ts";
import { run as runPipeline, type RunOptions } from "../pipeline/run.ts";
import { stateFolder } from "../pipeline/signing-key.ts";
import { isAhead } from "../pipeline/slot-done.ts";
import type { Progress, RunState, RunSummary, StageSummary } from "../pipeline/summary.ts";
import { PipelineError } from "../errors.ts";
import { untilAborted } from "../stages/until-aborted.ts";
import { asFailure, failureDocument } from "./failure.ts";
import { listenForInterrupt } from "./interrupt.ts";
import { listenForProfile } from "./live-profile.ts";
import { tuneCompiler } from "./optimizer.ts";
import { startProgress, type ProgressLine } from "./progress.ts";
import { describeProgress } from "./run-progress.ts";
import { runReportText } from "./run-report.ts";
import { paintFor } from "./screen.ts";
import { stageTable } from "./stage-table.ts";
import type { Call, Paint, Report } from "./verb.ts";

const stoppedCode = 75;
const rejectedCode = 3;

export async function runFile(call: Call): Promise<Report> {
  // A module of the user's may print; standard output is for our document alone.
  Object.assign(console, new Console(process.stderr, process.stderr));
  refusePermissionModel();
  const progress = startProgress(call);
  const interrupt = listenForInterrupt(stopped, () =>
    progress.info("stopping; once more ends it at once"),
  );
  let stages: readonly StageSummary[] = [];
  const profile = listenForProfile({
    folder: join(stateFolder(), "profiles"),
    written(paths) {
      for (const line of stageTable(stages, paintFor(process.stderr))) progress.info(line);
      progress.info(`CPU profiles of ten seconds: ${paths.join(" ")}`);
    },
    failed: (reason) => progress.warn(`no CPU profile could be taken (${reason})`),
  });
  let ended = false;
  const onProgress = (now: Progress) => ({ stages } = now);
  const work = exportFile(call, progress, { signal: interrupt.signal, onProgress }).finally(
    () => (ended = true),
  );
  try {
    const summary = await Promise.race([work, interrupt.overdue]);
    return reportSummary(summary, call.text("profile"));
  } catch (error) {
    return { ...reportFailure(asFailure(error)), ...(!ended && { leavesWork: true }) };
  } finally {
    interrupt.dispose();
    await profile.dispose();
    progress.end();
  }
}

/** Told at once: the first page would meet it, after the query has begun. */
function refusePermissionModel(): void {
  if (process.permission === undefined) return;
  throw new PipelineError(
    "config-invalid",
    "run: Node's permission model forbids fsync, and without it nothing is durable; run without --permission (SECURITY.md says how else to confine an export)",
  );
}

async function exportFile(
  call: Call,
  progress: ProgressLine,
  { signal, onProgress }: Required<Pick<RunOptions, "signal" | "onProgress">>,
): Promise<RunSummary> {
  const slot = slotOf(call.text("slot"));
  for (let goes = 1; ; goes += 1) {
    const describe = describeProgress();
    // A module of the user's may take its time, or never be loaded.
    const pipeline = await untilAborted(loadPipeline(call.argument), signal);
    const summary = await runPipeline(pipeline, {
      signal,
      restart: call.flag("restart") && goes === 1,
      ...slot,
      log: progress,
      onPlan: tuneCompiler,
      onProgress(now) {
        onProgress(now);
        progress.show(describe(now));
      },
      env: call.env,
    });
    if (!isStillDue(slot.slot, summary)) return summary;
    if (goes === mostGoes) throw stopped();
    const { runId } = summary;
    progress.info(
      `run ${runId}, which an earlier call had left, is committed; the slot's own is next`,
    );
  }
}

/** Finishing what an earlier slot left, and the slot's own run; others may come in between. */
const mostGoes = 3;

/** Whether the run that was finished was of an earlier slot, of none, or of one that has not come. */
function isStillDue(slot: Date | undefined, done: RunSummary): boolean {
  const asked = slot?.toISOString();
  if (asked === undefined || done.slot === asked) return false;
  return done.slot === null || done.slot < asked || isAhead(done.slot, new Date());
}

/** A slot too far ahead would keep all before it from being run for. */
const aheadMillis = 3_600_000;

/** One that its month does not have would be taken for a day of the next, and what comes until then for done. */
const isDay = (text: string): boolean => new Date(text).toJSON()?.startsWith(text) ?? false;

function slotOf(text: string | undefined): Pick<RunOptions, "slot"> {
  if (text === undefined) return {};
  const slot = new Date(text);
  if (
    /^\d{4}-\d\d-\d\dT.*(Z|[+-]\d\d:\d\d)$/.test(text) &&
    isDay(text.slice(0, 10)) &&
    slot.getTime() <= Date.now() + aheadMillis
  )
    return { slot };
  throw new PipelineError(
    "config-invalid",
    "--slot: expected a time such as 2026-03-01T02:30:00Z, an hour ahead at most",
  );
}

function reportSummary(summary: RunSummary, profiles: string | undefined): Report {
  const hasRejects = Object.keys(summary.rejected).length > 0;
  return {
    document: summary,
    text: (paint) =>
      [runReportText(summary, paint), ...profileText(summary, profiles, paint)].join("\n"),
    ...(hasRejects && { exitCode: rejectedCode }),
  };
}

function profileText(
  { stages }: RunSummary,
  profiles: string | undefined,
  paint: Paint,
): readonly string[] {
  if (profiles === undefined) return [];
  return ["", ...stageTable(stages, paint), "", `CPU profiles of every thread are in ${profiles}`];
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

/**
 * A look before an export: everything a run would meet, without running it. Each area is looked at on its own, with a
 * deadline, so that one that is silent hides nothing of the others.
 */
import { PipelineError } from "../../errors.ts";
import { probeDestination } from "../../stages/destinations/schemes.ts";
import { fault, good, type Finding } from "../../stages/finding.ts";
import { destinationOptions } from "../../stages/pages/upload.ts";
import { settlesWithin } from "../../telemetry/deadline.ts";
import { loadPipeline } from "../load.ts";
import type { Plan } from "../plan-types.ts";
import { planPipeline } from "../plan.ts";
import { examineCollector } from "./collector.ts";
import { examineEncryption } from "./encryption.ts";
import type { Examined, ExamineOptions } from "./examined.ts";
import { describeBudget, examineMachine } from "./machine.ts";
import { examineSignature } from "./signature.ts";
import { examineSource } from "./source.ts";
import { examineSpool } from "./spool.ts";

export type Area =
  | "config"
  | "machine"
  | "spool"
  | "source"
  | "destination"
  | "encryption"
  | "signature"
  | "telemetry";

export interface AreaFinding extends Finding {
  readonly area: Area;
}

/** Longest wait for one finding; what is asked of others has shorter deadlines of its own. */
const findingMillis = 20_000;
/** How long a look that was ended may take to undo what it did. */
const leavingMillis = 6000;

type Look = (signal: AbortSignal) => AsyncIterable<Finding>;

/**
 * Examines a pipeline file. The findings come in the order a run would meet what they are about.
 * @throws PipelineError only the signal's reason
 */
export async function examine(
  path: string,
  options: ExamineOptions,
): Promise<readonly AreaFinding[]> {
  let examined: Examined;
  try {
    const pipeline = await loadPipeline(path);
    const plan = await planPipeline(pipeline, { resolve: "full", env: options.env });
    examined = { ...options, pipeline, plan };
  } catch (error) {
    if (!(error instanceof PipelineError)) throw error;
    return refusals(error);
  }
  const { plan } = examined;
  const { upload, report } = plan;
  const asked = { ...destinationOptions(upload), folder: report.name };
  const looks: readonly (readonly [Area, Look])[] = [
    ["machine", () => examineMachine(plan.report)],
    ["spool", (signal) => examineSpool({ ...examined, signal })],
    ["source", (signal) => examineSource({ ...examined, signal })],
    ["destination", (signal) => probeDestination(upload.to, { ...asked, signal })],
    ["encryption", (signal) => examineEncryption({ ...examined, signal })],
    ["signature", () => examineSignature(plan.sign)],
    ["telemetry", (signal) => examineCollector({ ...examined, signal })],
  ];
  const found = await lookSideBySide(looks, options.signal);
  return [...describeConfig(plan), ...found];
}

/** All looks have ended when it returns or throws: a defect in one is told when the others have undone what they did. */
export async function lookSideBySide(
  looks: readonly (readonly [Area, Look])[],
  caller: AbortSignal,
  deadlineMillis: number = findingMillis,
): Promise<readonly AreaFinding[]> {
  const defect = new AbortController();
  const signal = AbortSignal.any([caller, defect.signal]);
  const found = await Promise.all(
    looks.map(([area, look]) =>
      collect(area, look, signal, deadlineMillis).catch((error: unknown) => {
        defect.abort(error);
        return [];
      }),
    ),
  );
  signal.throwIfAborted();
  return found.flat();
}

/** Every mistake in the file is a line of its message. */
function refusals(error: PipelineError): AreaFinding[] {
  const { code, details } = error;
  return error.message
    .split("\n")
    .map((line) => new PipelineError(code, line, { details }))
    .map((one) => ({ area: "config", ...fault("pipeline", one) }));
}

function describeConfig({ report }: Plan): AreaFinding[] {
  const findings = [
    good("pipeline", `${report.name}: ${report.stages.map(({ name }) => name).join(" → ")}`),
    describeBudget(report),
  ];
  return findings.map((finding) => ({ area: "config", ...finding }));
}

/** What was found up to the end or the first failure. A look that is ended is waited for: it takes back what it stored. */
async function collect(
  area: Area,
  look: Look,
  signal: AbortSignal,
  deadlineMillis: number,
): Promise<AreaFinding[]> {
  const stop = new AbortController();
  const iterator = look(AbortSignal.any([signal, stop.signal]))[Symbol.asyncIterator]();
  const found: AreaFinding[] = [];
  try {
    for (;;) {
      const next = iterator.next();
      if (!(await settlesWithin(deadlineMillis, next))) throw silent(area, deadlineMillis);
      const { done, value } = await next;
      if (done) return found;
      found.push({ area, ...value });
    }
  } catch (error) {
    stop.abort(error);
    await settlesWithin(leavingMillis, Promise.resolve(iterator.return?.()));
    if (signal.aborted) return found;
    if (!(error instanceof PipelineError)) throw error;
    return [...found, { area, ...fault(area, error) }];
  }
}

function silent(area: Area, millis: number): PipelineError {
  const codes: Partial<Record<Area, PipelineError["code"]>> = {
    spool: "spool-failed",
    source: "source-unreachable",
    destination: "destination-unreachable",
  };
  return new PipelineError(
    codes[area] ?? "internal",
    `no answer within ${millis / 1000} s; expected one (a disk or network that hangs?)`,
  );
}

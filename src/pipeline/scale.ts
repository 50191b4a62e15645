/**
 * How the time of each stage grows with the rows: the same pipeline over 10, 100, 1000 … rows, into a folder that is
 * thrown away. What is worse than linear here is what a profile of ten rows hides.
 */
import { generateKeyPairSync } from "node:crypto";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { pathToFileURL } from "node:url";
import type { QueryStats } from "../stages/queries/query-watch.ts";
import type { Kind } from "../stages/nouns.ts";
import type { Pipeline } from "./define.ts";
import type { PlanReport } from "./plan-types.ts";
import { run, type RunOptions } from "./run.ts";
import type { RunSummary } from "./summary.ts";

export interface ScaleOptions extends Pick<RunOptions, "signal" | "log" | "env" | "onPlan"> {
  /** Sizes are 10, 100, 1000 … up to this. */
  readonly most?: number;
  /** Runs of each size, of which the quickest counts. */
  readonly rounds?: number;
  /** Called after each run. */
  readonly onRun?: (rows: number, round: number) => void;
}

export interface StageCurve {
  readonly name: string;
  /** Seconds of work, in the order of `sizes`. */
  readonly seconds: readonly number[];
  /**
   * Power of the row count that the time grows with from the last size but one to the last; null where it is noise, and
   * for stages of pages.
   */
  readonly exponent: number | null;
  readonly worseThanLinear: boolean;
}

export interface ScaleReport {
  readonly pipeline: string;
  /** Rows of each size; the last may be all rows there are. */
  readonly sizes: readonly number[];
  readonly stages: readonly StageCurve[];
  /** Statements that stages of one's own asked, at the last size. */
  readonly queries: readonly QueryStats[];
}

const keyVariable = "SPILLWAY_SCALE_KEY";
const firstSize = 10;
const factor = 10;
/** Growth by less than this is the machine's, not the stage's. */
const noiseSeconds = 0.02;
/** Caches that fill, garbage and clocks make 1.1 of what is linear. */
const linearMost = 1.2;

/**
 * Runs the pipeline at growing sizes. Nothing is uploaded, and no spool or key of the pipeline's is touched.
 * @throws PipelineError as `run` does
 */
export async function scale(pipeline: Pipeline, options: ScaleOptions = {}): Promise<ScaleReport> {
  const { most = 10_000, rounds = 3, onRun, onPlan, env = process.env, ...rest } = options;
  const perRow = new Set<string>();
  const noteStages = (report: PlanReport) => {
    for (const { name, takes, gives } of report.stages)
      if (isPerRow(takes) || isPerRow(gives)) perRow.add(name);
    onPlan?.(report);
  };
  const folder = await mkdtemp(join(tmpdir(), "spillway-scale-"));
  try {
    const apart = { ...env, [keyVariable]: makeKey(), OTEL_SDK_DISABLED: "true" };
    const measured: RunSummary[] = [];
    for (let sample = firstSize; sample <= most; sample *= factor) {
      let best: RunSummary | undefined;
      for (let round = 0; round < rounds; round += 1) {
        // In a spool of its own, which remembers no run before it: behind that one's watermark there is nothing new.
        const trial = divert(pipeline, join(folder, `${sample}.${round}`));
        best = quicker(best, await run(trial, { ...rest, env: apart, onPlan: noteStages, sample }));
        onRun?.(sample, round);
      }
      measured.push(best!);
      if (best!.rows < sample) break;
    }
    return describe(pipeline.spec.name, measured, perRow);
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}

/** The quicker of two runs, stage by stage: noise only ever adds. */
function quicker(best: RunSummary | undefined, next: RunSummary): RunSummary {
  if (!best) return next;
  const stages = next.stages.map((stage, at) => {
    const before = best.stages[at]!;
    return stage.busySeconds < before.busySeconds ? stage : before;
  });
  return { ...next, stages };
}

/** The same pipeline with a spool, a destination and a key of its own, and without telemetry. */
function divert({ spec, ...pipeline }: Pipeline, folder: string): Pipeline {
  const { telemetry: _telemetry, ...rest } = spec;
  const stages = spec.stages.map((stage) => {
    if ("spool" in stage) return { spool: { dir: join(folder, "spool"), maxBytes: "1GiB" } };
    if ("upload" in stage) return { upload: { to: pathToFileURL(join(folder, "out")).href } };
    return stage;
  });
  return { ...pipeline, spec: { ...rest, stages, sign: `\${env:${keyVariable}}` } };
}

const makeKey = (): string =>
  generateKeyPairSync("ed25519").privateKey.export({ type: "pkcs8", format: "pem" }).toString();

/** Pages are few at these sizes, and their stages wait for disks: their time says nothing of growth. */
const isPerRow = (kind: Kind): boolean => kind === "rows" || kind === "records";

function describe(
  pipeline: string,
  runs: readonly RunSummary[],
  perRow: ReadonlySet<string>,
): ScaleReport {
  const sizes = runs.map(({ rows }) => rows);
  const names = runs[0]?.stages.map(({ name }) => name) ?? [];
  const stages = names.map((name, at) => {
    const seconds = runs.map(({ stages }) => stages[at]?.busySeconds ?? 0);
    const exponent = perRow.has(name) ? fitExponent(sizes, seconds) : null;
    return { name, seconds, exponent, worseThanLinear: (exponent ?? 0) > linearMost };
  });
  return { pipeline, sizes, stages, queries: runs.at(-1)?.queries ?? [] };
}

/** What a stage costs before its first row is in the time of the smallest size, and taken off. */
export function fitExponent(sizes: readonly number[], seconds: readonly number[]): number | null {
  const [base = 0] = seconds;
  const last = seconds.length - 1;
  const [before, after] = [(seconds[last - 1] ?? 0) - base, (seconds[last] ?? 0) - base];
  if (last < 2 || after < noiseSeconds) return null;
  const grown = Math.log(sizes[last]! / sizes[last - 1]!);
  // What was below noise at the smaller size may have been anything up to it.
  return Math.log(after / Math.max(before, noiseSeconds / factor)) / grown;
}

/** Pipeline files that are served: read, checked as a run would check them, and of that only what serving needs. */
import { readdir, stat } from "node:fs/promises";
import { join, resolve } from "node:path";
import { PipelineError } from "../../errors.ts";
import { loadPipeline } from "../load.ts";
import { planPipeline } from "../plan.ts";
import { slotsOf, type Slots } from "../schedule.ts";
import type { ScheduleConfig } from "../spec.ts";

/** A pipeline with a schedule. It holds no secret: runs read their file themselves. */
export interface Served {
  readonly file: string;
  readonly name: string;
  readonly schedule: ScheduleConfig;
  readonly slots: Slots;
  /** The pipeline's folder in its spool. */
  readonly folder: string;
}

type Env = Readonly<Record<string, string | undefined>>;

/** The files meant by paths of files and folders, each once. */
export async function findFiles(paths: readonly string[]): Promise<readonly string[]> {
  const found = await Promise.all(paths.map(async (path) => filesAt(resolve(path))));
  return [...new Set(found.flat())];
}

async function filesAt(path: string): Promise<readonly string[]> {
  const isFolder = await stat(path).then(
    (at) => at.isDirectory(),
    () => false,
  );
  if (!isFolder) return [path];
  const names = (await readdir(path)).filter((name) => /\.ya?ml$/.test(name)).toSorted();
  return names.map((name) => join(path, name));
}

/**
 * Reads one file, references resolved, so that what is missing is told now and not at night.
 * @returns undefined for one without a `schedule`
 * @throws PipelineError as `run` would
 */
export async function loadServed(file: string, env: Env): Promise<Served | undefined> {
  const pipeline = await loadPipeline(file);
  const { report, schedule, spool } = await planPipeline(pipeline, { resolve: "full", env });
  if (!schedule) return undefined;
  const { name } = report;
  const folder = resolve(spool.dir, name);
  return { file, name, schedule, slots: slotsOf(schedule, pipeline.locate), folder };
}

/** Two that share a folder in the spool would take up each other's runs. */
export function refuseNamesakes(all: readonly Served[]): void {
  const seen = new Map<string, Served>();
  for (const served of all) {
    const other = seen.get(served.name);
    if (other) {
      throw new PipelineError(
        "config-invalid",
        `${served.file} and ${other.file} both name their pipeline ${served.name}; give one another name`,
      );
    }
    seen.set(served.name, served);
  }
}

/** What all trials of the proof of sources share. */
import { access } from "node:fs/promises";
import { join } from "node:path";
import { PipelineError } from "../../src/errors.ts";
import { run } from "../../src/pipeline/run.ts";
import { type Export, type Path, signEnv } from "./pipeline.ts";

/** What is the same for all trials. */
export interface Stage {
  readonly serverUrl: string;
  readonly folder: string;
  /** By path: what an undisturbed export restores to, and bytes of the server for it. */
  readonly golden: Readonly<Record<Path, { readonly digest: string; readonly bytes: number }>>;
}

/** What came of a trial; it throws where something is wrong. */
export interface Outcome {
  readonly what: string;
  readonly silentMillis?: number;
}

export interface Trial {
  readonly stage: Stage;
  readonly home: string;
  readonly trial: number;
  readonly random: () => number;
}

export const pickOf = <T>(items: readonly T[], random: () => number): T =>
  items[Math.floor(random() * items.length)]!;

/**
 * Runs an export. Only a failure that says so, with the spool kept, may come of it besides success.
 * @param mustEnd true where no failure is allowed
 */
export async function attempt(
  made: Export,
  mustEnd = false,
  restart = false,
): Promise<PipelineError | undefined> {
  try {
    await run(made.pipeline, { env: signEnv, restart });
    return undefined;
  } catch (error) {
    if (!(error instanceof PipelineError)) throw error;
    if (mustEnd) throw new Error(`the next attempt failed: ${error.message}`, { cause: error });
    if (error.exitCode !== 4 && error.exitCode !== 75)
      throw new Error(`exit ${error.exitCode}: ${error.message}`, { cause: error });
    await access(join(made.folder, "run.json"));
    return error;
  }
}

/** What is to become of the unfinished run in a pipeline's folder: it goes on, is finished as it is, or is discarded. */
import { createHash, createHmac } from "node:crypto";
import { join } from "node:path";
import { PipelineError } from "../errors.ts";
import { statOf } from "../stages/destinations/file-work.ts";
import { hasFile, readJson, removeAll, type Place } from "./run-files.ts";
import { runRecordSchema, type RunRecord } from "./run-record.ts";

/** What belongs to one run and goes with it, besides `run.json`. */
const ofRun = [
  "pages",
  "incoming",
  "acks.ndjson",
  "note",
  "manifest.json",
  "manifest.json.draft",
  "manifest.json.sig",
  "SHA256SUMS",
];

export interface Bound {
  /** Everything another attempt must share: resolved settings, modules; may hold secrets. */
  readonly meaning: string;
  /** What tells the destination from every other. */
  readonly destination: string;
}

/** Who would take up what was left unfinished. */
export interface Attempt extends Bound {
  /** The same as it was spelled before a path had one spelling: what lies there under it counts. */
  readonly formerly?: Bound | undefined;
  /** Discards an unfinished run and begins a new one. */
  readonly restart: boolean;
  /** The time of the schedule that is to be run for (ISO, UTC); it is run for once. */
  readonly slot?: string | undefined;
  readonly warn?: ((text: string) => void) | undefined;
}

/**
 * The run to go on with; undefined where a new one begins.
 * @throws PipelineError `config-changed` when it was of other stages
 */
export async function takeUp(place: Place, attempt: Attempt): Promise<RunRecord | undefined> {
  const found = await readRecord(place, attempt.restart);
  if (!found) return undefined;
  const fate = await fateOf(place, found, attempt);
  if (fate === "begins anew") {
    await discard(place, found);
    return undefined;
  }
  if (fate === "is finished")
    attempt.warn?.(
      `run ${found.runId} was complete but for its last step when the stages changed; it is finished as it was`,
    );
  return found;
}

/** Whether an unfinished run goes on, is finished though the stages are others by now, or is discarded for a new one. */
export type Fate = "goes on" | "is finished" | "begins anew";

/** @throws PipelineError `config-changed` when it was of other stages */
export async function fateOf(place: Place, found: RunRecord, attempt: Attempt): Promise<Fate> {
  const isWhole = await hasFile(place, "manifest.json");
  const same = isSame(found, attempt);
  // What is complete but for its last step is finished, and the slot's own run comes after it.
  const isFinished = isWhole && (attempt.slot !== undefined || !attempt.restart);
  if (isWhole && found.version === 2 && !same && isElsewhere(found, attempt))
    throw wholeElsewhere(found);
  const gotNowhere = !same && !(await hasPages(place));
  if (!isFinished && (attempt.restart || gotNowhere)) return "begins anew";
  if (same) return "goes on";
  // Its pages and its manifest are made: no stage has a say in it any more.
  if (isWhole && found.version === 2) return "is finished";
  throw changed(found);
}

/** A destination, as part of a file's name. */
export const digestOf = (destination: string): string =>
  createHash("sha256").update(destination).digest("hex").slice(0, 16);

export const sealMeaning = (key: string, { meaning, destination }: Bound): string =>
  createHmac("sha256", Buffer.from(key, "hex"))
    .update(JSON.stringify([meaning, destination]))
    .digest("hex");

/**
 * A record that cannot be read stops a run, but not one that discards it.
 * @throws PipelineError `integrity-failed`, which no restart helps where the manifest may be at the destination already
 */
export async function readRecord(place: Place, restart: boolean): Promise<RunRecord | undefined> {
  try {
    return await readJson<RunRecord>(place, "run.json", runRecordSchema);
  } catch (error) {
    if (!restart) throw error;
    if (!(await hasFile(place, "manifest.json"))) return undefined;
    throw lastStepDamaged(`${join(place.path, "run.json")} is damaged`, error);
  }
}

const lookFirst =
  "look with `ls` whether the destination has it, then move manifest.json away from";

/** What keeps a run from its last step, though its manifest may be at the destination: neither finishing nor a restart helps. */
export const lastStepDamaged = (what: string, cause?: unknown): PipelineError =>
  new PipelineError(
    "integrity-failed",
    `spool: ${what}, and its run was complete but for its last step: ${lookFirst} there and run with --restart`,
    { cause },
  );

const bounds = (attempt: Attempt): readonly Bound[] =>
  attempt.formerly ? [attempt, attempt.formerly] : [attempt];

const isSame = (found: RunRecord, attempt: Attempt): boolean =>
  found.version === 2 &&
  bounds(attempt).some((bound) => found.meaning === sealMeaning(found.key, bound));

const isElsewhere = (found: RunRecord, attempt: Attempt): boolean =>
  bounds(attempt).every(({ destination }) => found.destination !== digestOf(destination));

/** Whether an attempt got so far that discarding it would lose something. */
async function hasPages({ disk, path }: Place): Promise<boolean> {
  const pages = await disk.opendir(join(path, "pages")).catch(() => []);
  for await (const _ of pages) return true;
  const journal = await statOf(join(path, "acks.ndjson"), disk).catch(() => undefined);
  return (journal?.size ?? 0) > 0;
}

/** Neither may it be discarded, since the manifest may be there, nor can it be finished from here. */
const wholeElsewhere = ({ runId }: RunRecord): PipelineError =>
  new PipelineError(
    "config-changed",
    `run ${runId} is complete but for its last step, at another destination; restore \`upload.to\` and run without --restart to finish it`,
  );

const changed = ({ version, runId }: RunRecord): PipelineError =>
  new PipelineError(
    "config-changed",
    version === 2
      ? `the stages, what they refer to, or the destination have changed since run ${runId} began; restore them to go on with it, or discard it with --restart`
      : `run ${runId} was begun by another version of spillway; finish it with that one, or discard it with --restart`,
  );

/**
 * Gives up an unfinished run: `run.json` first, so that a crash in between leaves no run with half its folder.
 * @throws PipelineError `config-invalid` when its manifest may be at the destination already
 */
async function discard(place: Place, found: RunRecord): Promise<void> {
  if (await hasFile(place, "manifest.json")) {
    throw new PipelineError(
      "config-invalid",
      `run ${found.runId} is complete but for its last step; run without --restart to finish it; where that fails for good, ${lookFirst} ${place.path} and run with --restart`,
    );
  }
  await removeAll(place, ["run.json"]);
  await clear(place);
}

/** Removes what belongs to a run. */
export const clear = (place: Place): Promise<void> => removeAll(place, ofRun);

/**
 * Older exports of a pipeline leave its destination, after a later one is committed and while its lock is held.
 *
 * Only exports that were complete go, and never the newest of them: what is not complete may be somebody's who is still at
 * work. The manifest goes first, so that nobody takes half an export for a whole one; which exports are on their way out is
 * written down before, so that what a crash leaves of one is removed by the next run.
 */
import * as v from "valibot";
import type { Destination } from "../stages/destinations/destination.ts";
import type { Log } from "../stages/stage.ts";
import { realDisk } from "../stages/world.ts";
import { manifestName, signatureName } from "./manifest.ts";
import { readJson, removeAll, writeJson } from "./run-files.ts";
import type { KeepConfig } from "./spec.ts";

/** An export at the destination, by its folder's name. */
export interface StoredRun {
  readonly id: string;
  readonly complete: boolean;
}

const dayMillis = 86_400_000;
const leavingName = "leaving.json";
const leavingSchema = v.looseObject({ runs: v.array(v.string()) });

/**
 * Which exports nobody wants any more: neither among the newest `runs`, nor begun within `days`.
 * @param current the run just committed
 */
export function outdated(
  stored: readonly StoredRun[],
  keep: KeepConfig,
  { current, now }: { readonly current: string; readonly now: Date },
): readonly string[] {
  const { runs, days } = keep;
  if (runs === undefined && days === undefined) return [];
  // Run ids sort by time.
  const complete = stored.filter((run) => run.complete && begunAt(run.id) !== undefined);
  const ids = complete.map(({ id }) => id).toSorted();
  const newest = Math.max(1, runs ?? 1);
  const since = days === undefined ? Number.POSITIVE_INFINITY : now.getTime() - days * dayMillis;
  return ids.slice(0, -newest).filter((id) => id < current && begunAt(id)! < since);
}

/** When a run began, by its id; undefined for a name that is none of ours. */
function begunAt(id: string): number | undefined {
  const parts = /^(\d{4})(\d\d)(\d\d)T(\d\d)(\d\d)(\d\d)(\d{3})Z-[0-9a-f]{8}$/.exec(id);
  if (!parts) return undefined;
  const [, year, month, day, hour, minute, second, millis] = parts;
  const time = Date.parse(`${year}-${month}-${day}T${hour}:${minute}:${second}.${millis}Z`);
  return Number.isNaN(time) ? undefined : time;
}

export interface Retention {
  readonly keep: KeepConfig;
  readonly destination: Destination;
  readonly pipeline: string;
  /** The run just committed. */
  readonly current: string;
  /** The pipeline's folder in the spool. */
  readonly folder: string;
  readonly now: Date;
  readonly signal: AbortSignal;
  readonly log: Log;
}

/** Removes what `keep` does not. It never fails a run: what it could not do it says, and the next run does. */
export async function removeOutdated(retention: Retention): Promise<void> {
  try {
    const removed = await removeRuns(retention);
    if (removed.length > 0)
      retention.log.info(`keep: removed ${removed.length} older exports (${removed.join(", ")})`);
  } catch {
    retention.log.warn("keep: older exports could not be removed; the next run tries again");
  }
}

async function removeRuns(retention: Retention): Promise<readonly string[]> {
  const { keep, destination, pipeline, current, now, signal } = retention;
  const place = { disk: realDisk, path: retention.folder };
  const stored = await listRuns(destination, pipeline, signal);
  const begun = await readJson<{ runs: string[] }>(place, leavingName, leavingSchema);
  const halves = (begun?.runs ?? []).filter((id) => id !== current);
  const leaving = [...new Set([...halves, ...outdated(stored, keep, { current, now })])];
  if (leaving.length === 0) return [];
  await writeJson(place, leavingName, { runs: leaving });
  for (const id of leaving) await removeRun(destination, `${pipeline}/${id}`, signal);
  await removeAll(place, [leavingName]);
  return leaving;
}

async function listRuns(
  destination: Destination,
  pipeline: string,
  signal: AbortSignal,
): Promise<readonly StoredRun[]> {
  const ends = new Map<string, number>();
  for await (const { name } of destination.list(pipeline, signal)) {
    const [, id, object] = name.split("/");
    if (id === undefined || object === undefined) continue;
    const isEnd = object === manifestName || object === signatureName;
    ends.set(id, (ends.get(id) ?? 0) + (isEnd ? 1 : 0));
  }
  return [...ends].map(([id, count]) => ({ id, complete: count === 2 }));
}

async function removeRun(
  destination: Destination,
  folder: string,
  signal: AbortSignal,
): Promise<void> {
  await destination.remove?.(`${folder}/${manifestName}`, signal);
  for await (const { name } of destination.list(folder, signal))
    await destination.remove?.(name, signal);
}

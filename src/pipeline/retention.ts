/**
 * Older exports of a pipeline leave its destination, after a later one is committed and while its lock is held.
 *
 * Only exports that were complete go, and never the newest of them: what is not complete may be somebody's who is still at
 * work. The manifest goes first, so that nobody takes half an export for a whole one; which exports are on their way out is
 * written down before, for each destination, so that what a crash leaves of one is removed by the next run. What is still
 * whole then is asked of `keep` again. Files that no export has stay.
 */
import * as v from "valibot";
import type { Destination } from "../stages/destinations/destination.ts";
import type { Log } from "../stages/stage.ts";
import { realDisk } from "../stages/world.ts";
import { manifestName, signatureName } from "./manifest.ts";
import { readJson, removeAll, writeJson } from "./run-files.ts";
import { digestOf } from "./run-folder-unfinished.ts";
import type { KeepConfig } from "./spec.ts";

/** An export at the destination, by its folder's name. */
export interface StoredRun {
  readonly id: string;
  readonly complete: boolean;
  /** Absent where it begins to leave, or was never committed. */
  readonly hasManifest?: boolean;
}

const dayMillis = 86_400_000;
const leavingSchema = v.looseObject({ runs: v.array(v.string()) });
const leavingName = ({ identity, url }: Destination): string =>
  `leaving-${digestOf(identity ?? url)}.json`;
/** What an export consists of. */
const ownNames = /^(\d{8,}\.[^/]+|SHA256SUMS|manifest\.json(\.sig)?)$/;

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
  const ids = completeIds(stored);
  const newest = Math.max(1, runs ?? 1);
  const since = days === undefined ? Number.POSITIVE_INFINITY : now.getTime() - days * dayMillis;
  return ids.slice(0, -newest).filter((id) => id < current && begunAt(id)! < since);
}

/** Run ids sort by time. */
const completeIds = (stored: readonly StoredRun[]): readonly string[] =>
  stored
    .filter((run) => run.complete && begunAt(run.id) !== undefined)
    .map(({ id }) => id)
    .toSorted();

/**
 * Whether the clock seems to have leapt: the newest other export lies further back than `days`, and more than twice as
 * far as any two of the others lie apart. By the next export it is known, and ages count again.
 */
export function seemsAhead(
  stored: readonly StoredRun[],
  { days }: KeepConfig,
  { current, now }: { readonly current: string; readonly now: Date },
): boolean {
  if (days === undefined) return false;
  const others = completeIds(stored).filter((id) => id !== current);
  const times = others.map((id) => begunAt(id)!);
  const back = now.getTime() - (times.at(-1) ?? now.getTime());
  const gaps = times.slice(1).map((time, at) => time - times[at]!);
  return back > Math.max(days * dayMillis, 2 * gaps.reduce((most, gap) => Math.max(most, gap), 0));
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
  const { keep, destination, pipeline, current, now, signal, log } = retention;
  const place = { disk: realDisk, path: retention.folder };
  const note = leavingName(destination);
  const stored = await listRuns(destination, pipeline, signal);
  const begun = await readJson<{ runs: string[] }>(place, note, leavingSchema);
  const halves = (begun?.runs ?? []).filter((id) => id !== current && isHalf(stored, id));
  const isAhead = seemsAhead(stored, keep, { current, now });
  if (isAhead)
    log.warn("keep: by this clock all other exports are long past; none is removed by its age now");
  const old = isAhead ? [] : outdated(stored, keep, { current, now });
  const leaving = [...new Set([...halves, ...old])];
  if (leaving.length > 0) await writeJson(place, note, { runs: leaving });
  const failed: string[] = [];
  for (const id of leaving) {
    try {
      await removeRun(retention, `${pipeline}/${id}`);
    } catch {
      failed.push(id);
    }
  }
  if (failed.length > 0) {
    await writeJson(place, note, { runs: failed });
    const names = failed.join(", ");
    log.warn(`keep: could not remove ${names} as a whole; the next run tries again`);
  } else if (begun || leaving.length > 0) await removeAll(place, [note]);
  return leaving.filter((id) => !failed.includes(id));
}

/** What is whole again, or never was ours, is not gone on with. */
const isHalf = (stored: readonly StoredRun[], id: string): boolean =>
  begunAt(id) !== undefined && stored.some((run) => run.id === id && run.hasManifest === false);

async function listRuns(
  destination: Destination,
  pipeline: string,
  signal: AbortSignal,
): Promise<readonly StoredRun[]> {
  const ends = new Map<string, Set<string>>();
  for await (const { name } of destination.list(pipeline, signal)) {
    const [, id, object, ...deeper] = name.split("/");
    if (id === undefined || object === undefined) continue;
    const found = ends.get(id) ?? new Set();
    ends.set(id, found);
    if (deeper.length === 0 && (object === manifestName || object === signatureName))
      found.add(object);
  }
  return [...ends].map(([id, found]) => ({
    id,
    complete: found.size === 2,
    hasManifest: found.has(manifestName),
  }));
}

async function removeRun({ destination, signal, log }: Retention, folder: string): Promise<void> {
  await destination.remove?.(`${folder}/${manifestName}`, signal);
  let others = 0;
  for await (const { name } of destination.list(folder, signal)) {
    if (ownNames.test(name.slice(folder.length + 1))) await destination.remove?.(name, signal);
    else others += 1;
  }
  if (others > 0) log.warn(`keep: ${others} files in ${folder} are no export's and stay there`);
}

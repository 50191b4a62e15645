/**
 * Older exports of a pipeline leave its destination, after a later one is committed and while its lock is held.
 *
 * Only exports that were complete go, and never the newest of them: what is not complete may be somebody's who is still at
 * work. The manifest goes first, so that nobody takes half an export for a whole one; which exports are on their way out is
 * written down before, for each destination, so that what a crash leaves of one is removed by the next run. What is still
 * whole then is asked of `keep` again. Files that no export has stay.
 */
import * as v from "valibot";
import { PipelineError } from "../errors.ts";
import type { Destination } from "../stages/destinations/destination.ts";
import type { Log } from "../stages/stage.ts";
import { realDisk } from "../stages/world.ts";
import { manifestName, signatureName } from "./manifest.ts";
import { putAside, readJson, removeAll, writeJson, type Place } from "./run-files.ts";
import { digestOf } from "./run-folder-unfinished.ts";
import type { Slots } from "./schedule.ts";
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

/** When `keep` asks, and for whom. */
interface Asking {
  /** The run just committed. */
  readonly current: string;
  readonly now: Date;
  /** When exports were due; at all times where that is not known. */
  readonly slots?: Pick<Slots, "after"> | undefined;
}

/**
 * Which exports nobody wants any more: neither among the newest `runs`, nor begun within `days`.
 * @param leap what no age counts, as `findLeap` gives it
 */
export function outdated(
  stored: readonly StoredRun[],
  { runs, days }: KeepConfig,
  { current, now, leap }: Asking & { readonly leap?: Leap | undefined },
): readonly string[] {
  if (runs === undefined && days === undefined) return [];
  const newest = Math.max(1, runs ?? 1);
  const isPast = (begun: number) => {
    const doubted = leap && begun <= leap.from ? leap.millis : 0;
    return days === undefined || now.getTime() - begun - doubted > days * dayMillis;
  };
  return completeIds(stored)
    .slice(0, -newest)
    .filter((id) => id < current && isPast(begunAt(id)!));
}

/** Run ids sort by time. */
const completeIds = (stored: readonly StoredRun[]): readonly string[] =>
  stored
    .filter((run) => run.complete && begunAt(run.id) !== undefined)
    .map(({ id }) => id)
    .toSorted();

/** A time without exports that may have been none. */
export interface Leap {
  /** When the last export before it began. */
  readonly from: number;
  readonly millis: number;
}

/**
 * Where the clock seems to have leapt ahead: nothing was exported for longer than `days`, and for more than twice as long
 * as ever else, though it was due. So much of an export's age is not known to have passed; what passes from then on counts,
 * whatever the clock says.
 */
export function findLeap(
  stored: readonly StoredRun[],
  { days }: KeepConfig,
  { current, now, slots }: Asking,
): Leap | undefined {
  if (days === undefined) return undefined;
  const begun = [...new Set([...completeIds(stored), current])].map((id) => begunAt(id) ?? 0);
  // The run just committed may have seen the clock leap.
  const times = [...begun, now.getTime()]
    .filter((time) => time > 0 && time <= now.getTime())
    .toSorted((a, b) => a - b);
  const gaps = times
    .slice(1)
    .map((time, at) => ({ from: times[at]!, millis: time - times[at]! }))
    .toSorted((a, b) => b.millis - a.millis);
  const [longest, next] = gaps;
  const most = Math.max(days * dayMillis, 2 * (next?.millis ?? 0));
  return longest && longest.millis > most && wasDue(longest, slots) ? longest : undefined;
}

/** The slot at the end of such a time is the next export's; there was one more. */
function wasDue({ from, millis }: Leap, slots: Asking["slots"]): boolean {
  if (!slots) return true;
  const first = slots.after(new Date(from));
  const second = first && slots.after(first);
  return second !== undefined && second.getTime() <= from + millis;
}

/** When a run began, by its id; undefined for a name that is none of ours. */
function begunAt(id: string): number | undefined {
  const parts = /^(\d{4})(\d\d)(\d\d)T(\d\d)(\d\d)(\d\d)(\d{3})Z-[0-9a-f]{8}$/.exec(id);
  if (!parts) return undefined;
  const [, year, month, day, hour, minute, second, millis] = parts;
  const time = Date.parse(`${year}-${month}-${day}T${hour}:${minute}:${second}.${millis}Z`);
  return Number.isNaN(time) ? undefined : time;
}

export interface Retention extends Asking {
  readonly keep: KeepConfig;
  readonly destination: Destination;
  readonly pipeline: string;
  /** The pipeline's folder in the spool. */
  readonly folder: string;
  readonly signal: AbortSignal;
  readonly log: Log;
}

/** Who waits for the next slot does not wait for a store that hangs; what is left goes with the next run. */
const tidyMillis = 600_000;

/** Removes what `keep` does not. It never fails a run: what it could not do it says, and the next run does. */
export async function removeOutdated(retention: Retention, mostMillis = tidyMillis): Promise<void> {
  const signal = AbortSignal.any([retention.signal, AbortSignal.timeout(mostMillis)]);
  try {
    const removed = await removeRuns({ ...retention, signal });
    if (removed.length > 0)
      retention.log.info(`keep: removed ${removed.length} older exports (${removed.join(", ")})`);
  } catch {
    retention.log.warn("keep: older exports could not be removed; the next run tries again");
  }
}

async function removeRuns(retention: Retention): Promise<readonly string[]> {
  const { keep, destination, pipeline, current, now, slots, signal, log } = retention;
  const place = { disk: realDisk, path: retention.folder };
  const note = leavingName(destination);
  const stored = await listRuns(destination, pipeline, signal);
  const begun = await readNote(place, note, log);
  const halves = (begun?.runs ?? []).filter((id) => id !== current && isHalf(stored, id));
  const leap = findLeap(stored, keep, { current, now, slots });
  const old = outdated(stored, keep, { current, now, leap });
  const doubted = outdated(stored, keep, { current, now }).length - old.length;
  if (doubted > 0)
    log.warn(
      `keep: ${doubted} older exports stay for now: behind them nothing was exported for so long that the clock may have leapt, and that time counts for no age`,
    );
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

interface Leaving {
  readonly runs: readonly string[];
}

/** One that is damaged proves nothing, and is put aside; what it named stays, without a manifest. */
async function readNote(place: Place, name: string, log: Log): Promise<Leaving | undefined> {
  try {
    return await readJson<Leaving>(place, name, leavingSchema);
  } catch (error) {
    if (!(error instanceof PipelineError) || error.code !== "integrity-failed") throw error;
    await putAside(place, name);
    log.warn(
      `keep: ${name}, which names exports that are half gone, is damaged and was put aside as ${name}.damaged; what is half gone stays, and \`ls\` shows it as incomplete`,
    );
    return undefined;
  }
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

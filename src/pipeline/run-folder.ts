/**
 * A pipeline's folder in the spool: the lock, the record of the run under way, the memory of the last commit.
 *
 * `run.json` exists from before the first page until after the commit, so it alone tells whether a run is to be
 * taken up. `last-….json` is durable before `run.json` goes.
 */
import { join, resolve } from "node:path";
import type { GenericSchema } from "valibot";
import { nextRunId } from "./run-id.ts";
import { readNote } from "../stages/pages/run-note.ts";
import type { Carried } from "../stages/pages/spool-store.ts";
import { takeLock } from "../stages/pages/spool-lock.ts";
import { realWorld, type World } from "../stages/world.ts";
import { makePrivate, readJson, removeAll, writeJson, type Place } from "./run-files.ts";
import {
  carriedSchema,
  lastCommitSchema,
  type DoneSlot,
  type LastCommit,
  type RunRecord,
} from "./run-record.ts";
import { clear, digestOf, sealMeaning, takeUp, type Attempt } from "./run-folder-unfinished.ts";
import { doneName, findDone } from "./slot-done.ts";

export type { LastCommit, RunRecord };

export interface RunFolder {
  readonly path: string;
  readonly record: RunRecord;
  /** What the source of the run before left for this one. */
  readonly carried: Carried | undefined;
  /** True when an earlier attempt of the same run is taken up. */
  readonly resumed: boolean;
  readonly last: LastCommit | undefined;
  /** True when the run was committed, and only the tidying up after it was cut off. */
  readonly committed: boolean;
  /** Where nothing is to be done: an export was committed for this slot, or a later one, before. */
  readonly done: DoneSlot | undefined;
  /** Replaces the record durably. */
  save(record: RunRecord): Promise<void>;
  /** Remembers the commit durably, then removes what the run left here. */
  commit(last: LastCommit): Promise<void>;
  /** Gives the lock back. */
  release(): void;
}

export interface RunFolderInit extends Attempt {
  readonly dir: string;
  readonly pipeline: string;
  readonly configDigest: string;
  /** Whether the note that the source leaves becomes the next run's `carried`, with the commit. */
  readonly carries?: boolean | undefined;
  /** Disk, clock and chance; the real ones where none are given. */
  readonly world?: World;
  /** The kernel's lock, unless a proof has its own. */
  readonly takeLock?: typeof takeLock;
}

/**
 * Takes the pipeline's lock and its unfinished run, or begins a new one.
 * @throws PipelineError `already-running`; `config-changed` when the unfinished run was of other stages
 */
export async function openRunFolder(init: RunFolderInit): Promise<RunFolder> {
  const { world = realWorld } = init;
  const path = resolve(init.dir, init.pipeline);
  const place = { disk: world.disk, path };
  await makePrivate(place);
  const lock = (init.takeLock ?? takeLock)(join(path, "lock.db"), init.pipeline);
  try {
    const names = namesOf(init.destination);
    const former = formerNames(init);
    const last = await readLater<LastCommit>(place, [names.last, former?.last], lastCommitSchema);
    const done = await findDone(place, { ...init, slot: init.slot, now: world.clock.date() });
    if (done) return untouched(path, begin(init, world, last), done, lock);
    const found = await takeUp(place, init);
    if (!found) await clear(place);
    const record = found ? { ...found, attempts: found.attempts + 1 } : begin(init, world, last);
    const save = (next: RunRecord) => writeJson(place, "run.json", next);
    await save(record);
    return {
      path,
      record,
      resumed: found !== undefined,
      last,
      carried: init.carries
        ? await readLater<Carried>(place, [names.carried, former?.carried], carriedSchema)
        : undefined,
      committed: last?.runId === record.runId,
      done: undefined,
      save,
      async commit(next) {
        await writeJson(place, names.last, next);
        const text =
          (record.carries ?? init.carries) ? await readNote(path, world.disk) : undefined;
        const carried = text !== undefined && { runId: record.runId, text };
        if (carried) await writeJson(place, names.carried, carried);
        // Who sees that the slot is done looks no further.
        if (record.slot !== undefined)
          await writeJson(place, doneName, { slot: record.slot, commit: next });
        await clear(place);
        await removeAll(place, ["run.json"]);
        if (former) await removeAll(place, [former.last, ...(carried ? [former.carried] : [])]);
      },
      release: () => lock.release(),
    };
  } catch (error) {
    lock.release();
    throw error;
  }
}

/** A folder that is only looked at. */
const untouched = (
  path: string,
  record: RunRecord,
  done: DoneSlot,
  lock: { release(): void },
): RunFolder => ({
  path,
  record,
  carried: undefined,
  resumed: false,
  last: done.commit,
  committed: true,
  done,
  save: async () => {},
  commit: async () => {},
  release: () => lock.release(),
});

function begin(init: RunFolderInit, world: World, last: LastCommit | undefined): RunRecord {
  const key = world.randomBytes(32).toString("hex");
  const started = world.clock.date().toISOString();
  return {
    version: 2,
    runId: nextRunId(started, last?.runId ?? "", world),
    pipeline: init.pipeline,
    configDigest: init.configDigest,
    meaning: sealMeaning(key, init),
    key,
    started,
    attempts: 1,
    destination: digestOf(init.destination),
    carries: init.carries ?? false,
    ...(init.slot !== undefined && { slot: init.slot }),
  };
}

/** Generations are counted, and commits remembered, for each destination. */
const namesOf = (destination: string) => ({
  last: `last-${digestOf(destination)}.json`,
  carried: `carried-${digestOf(destination)}.json`,
});

const formerNames = ({ destination, formerly }: RunFolderInit) =>
  formerly && formerly.destination !== destination ? namesOf(formerly.destination) : undefined;

/** Of what lies under both names, what the later run left: their ids sort by time. */
async function readLater<T extends { readonly runId: string }>(
  place: Place,
  names: readonly (string | undefined)[],
  schema: GenericSchema,
): Promise<T | undefined> {
  const found: T[] = [];
  for (const name of names) {
    const one = name === undefined ? undefined : await readJson<T>(place, name, schema);
    if (one) found.push(one);
  }
  return found.toSorted((a, b) => (a.runId < b.runId ? 1 : -1))[0];
}

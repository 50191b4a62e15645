/** The life of a machine: attempts of a run one after another, until one commits or the power is cut. */
import { PipelineError, type ErrorCode } from "../../src/errors.ts";
import type { Disk, World } from "../../src/stages/world.ts";
import { createCrashDisk } from "./disk.ts";
import { below, pick, type FolderNode, type Random } from "./files.ts";
import type { Luck } from "./luck.ts";
import { chances, today, type SealedPages } from "./pages.ts";
import { runOnce, type Attempt, type Setup } from "./run.ts";
import { createTurns } from "./turns.ts";

/** A defect that is planted to see that it is found. */
export interface Plant {
  readonly disk?: (disk: Disk) => Disk;
  readonly spool?: Attempt["plant"];
}

export interface LifeInit {
  readonly root: FolderNode;
  readonly setup: Setup;
  readonly sealed: SealedPages;
  readonly key: Attempt["key"];
  readonly random: Random;
  readonly lucks: readonly Luck[];
  /** The power is cut before this change; absent: never. */
  readonly cutAt?: number;
  readonly plant?: Plant;
  readonly trace?: ((line: string) => void) | undefined;
}

export interface LifeEnd {
  /** Runs that were told to be committed. */
  readonly promised: readonly string[];
  readonly cut: boolean;
  /** Changes of the disk, that of the cut not included. */
  readonly changes: number;
  readonly failure?: string;
  /** The run said that it cannot go on, after a disk that did not keep what it had synced. */
  readonly refused?: string;
}

/** What may end an attempt that something went wrong in; all but the last two can be tried again. */
const allowed = new Set<ErrorCode>([
  "spool-failed",
  "spool-full",
  "disk-full",
  "destination-failed",
  "destination-refused",
  "source-failed",
  "stopped",
]);
const refusals = new Set<ErrorCode>(["integrity-failed", "foreign-object"]);

export async function live(init: LifeInit): Promise<LifeEnd> {
  const power = Promise.withResolvers<"cut">();
  const machine = { changes: 0, power };
  let doubtful = false;
  for (const luck of init.lucks) {
    doubtful ||= luck.doubtful;
    const end = await attempt(init, luck, machine);
    const { changes } = machine;
    if (end === "cut") return { promised: [], cut: true, changes: changes - 1 };
    if (typeof end === "string") return { promised: [end], cut: false, changes };
    const { error } = end;
    init.trace?.(`ends: ${String(error)}`);
    const told = String((error as Error)?.stack ?? error);
    const { code } = error instanceof PipelineError ? error : { code: undefined };
    if (code && doubtful && refusals.has(code))
      return { promised: [], cut: false, changes, refused: code };
    if (!code || luck === init.lucks.at(-1) || !allowed.has(code))
      return { promised: [], cut: false, changes, failure: told };
  }
  throw new Error("the last attempt is calm");
}

interface Machine {
  changes: number;
  readonly power: PromiseWithResolvers<"cut">;
}

/** One process: what it has begun ends with it. Gives the run's id when it is committed. */
async function attempt(
  init: LifeInit,
  luck: Luck,
  machine: Machine,
): Promise<string | { readonly error: unknown }> {
  const { random, setup, sealed, key, plant } = init;
  const turns = createTurns(random);
  const stop = new AbortController();
  let changes = 0;
  const onChange = () => {
    machine.changes += 1;
    changes += 1;
    if (machine.changes === init.cutAt) {
      turns.end();
      machine.power.resolve("cut");
      throw new Error("the power is cut");
    }
    if (changes === luck.stopAt) stop.abort(new PipelineError("stopped", "told to stop"));
  };
  const crashing = createCrashDisk({
    root: init.root,
    turns,
    random,
    trouble: luck.trouble(),
    onChange,
    moment: () => machine.changes,
    trace: init.trace && ((line) => init.trace?.(`${machine.changes} ${line}`)),
  });
  const world: World = {
    disk: plant?.disk?.(crashing) ?? crashing,
    clock: { now: () => turns.now, date: () => today, after: turns.after },
    randomBytes: (bytes) =>
      bytes === 4
        ? pick(random, chances)
        : Buffer.from(Array.from({ length: bytes }, () => below(random, 256))),
  };
  const run = runOnce({
    ...setup,
    sealed,
    key,
    world,
    random,
    turn: turns.take,
    fortune: luck.fortune,
    signal: stop.signal,
    ...(plant?.spool && { plant: plant.spool }),
  });
  try {
    return await Promise.race([run, turns.stuck, machine.power.promise]);
  } catch (error) {
    return { error };
  } finally {
    turns.end();
    // Node keeps signals that somebody waits for, and all that waits with them, until they fire.
    stop.abort();
  }
}

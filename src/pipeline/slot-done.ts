/** Which slot of its schedule a pipeline was last run for; a clock that was wrong once does not decide for ever. */
import { readJson, type Place } from "./run-files.ts";
import { doneSlotSchema, type DoneSlot } from "./run-record.ts";

/** The last slot that was run for, whatever the destination was. */
export const doneName = "slot.json";

const dayMillis = 86_400_000;

/** Later than any clock of today says: nobody can have been asked to run for it. */
export const isAhead = (slot: string | Date, now: Date): boolean =>
  new Date(slot).getTime() > now.getTime() + dayMillis;

export interface Asked {
  readonly slot: string | undefined;
  readonly now: Date;
  readonly warn?: ((text: string) => void) | undefined;
}

/** The slot itself, or a later one that can have come. */
export async function findDone(
  place: Place,
  { slot, now, warn }: Asked,
): Promise<DoneSlot | undefined> {
  if (slot === undefined) return undefined;
  const done = await readJson<DoneSlot>(place, doneName, doneSlotSchema);
  if (!done || done.slot < slot) return undefined;
  if (done.slot === slot || !isAhead(done.slot, now)) return done;
  warn?.(
    `${doneName} says that slot ${done.slot} is done, which has not come yet: a clock was wrong; slot ${slot} is run for all the same`,
  );
  return undefined;
}

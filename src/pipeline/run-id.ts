/** Names of runs. */
import type { World } from "../stages/world.ts";

type Chance = Pick<World, "randomBytes">;

/** Sorts by time to the millisecond, and after the run before it even when the clock went back. */
export function nextRunId(started: string, before: string, { randomBytes }: Chance): string {
  const id = (moment: string) =>
    `${moment.replace(/[-:.]/g, "")}-${randomBytes(4).toString("hex")}`;
  const made = id(started);
  if (made > before) return made;
  const [, year, month, day, hour, minute, second, millis] =
    /^(\d{4})(\d\d)(\d\d)T(\d\d)(\d\d)(\d\d)(\d{3})Z/.exec(before) ?? [];
  const later = Date.parse(`${year}-${month}-${day}T${hour}:${minute}:${second}.${millis}Z`) + 1;
  return Number.isNaN(later) ? made : id(new Date(later).toISOString());
}

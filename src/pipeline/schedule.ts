/**
 * When a pipeline is to run: cron patterns in a time zone. The only file that knows croner, which is asked for times and
 * never waits or calls: who serves has a clock of its own.
 *
 * Where clocks are put forward, a time that the day does not have comes as much later as the gap is long; where they are
 * put back, a time that the day has twice comes once, the first time. croner, asked in a zone, does so for one time a day
 * at most: of several in a gap it leaves out all, and in an hour that comes twice it finds them twice. So it is asked what
 * a calendar says, without a zone. Patterns with `*` or `/` in the hours go by the time that passes, and there it is right.
 */
import { Cron } from "croner";
import { PipelineError } from "../errors.ts";
import { printPlace, type Locate } from "./problems.ts";
import type { ScheduleConfig } from "./spec.ts";
import { dayMillis, zoneClock, type ZoneClock } from "./zone-clock.ts";

/** The slots of a schedule: the moments at which a run is due. */
export interface Slots {
  /** The first one after `moment`; none for a pattern whose last one has been. */
  after(moment: Date): Date | undefined;
  /** The last one at `moment` or before it. */
  upTo(moment: Date): Date | undefined;
}

/** @throws PipelineError `config-invalid` for a pattern or a time zone that nobody knows */
export function slotsOf({ cron, timezone }: ScheduleConfig, locate?: Locate): Slots {
  if (!isZone(timezone))
    throw refused(
      "timezone",
      locate,
      "no such time zone; expected one such as Europe/Berlin or UTC",
    );
  const slots = passesTime(cron)
    ? slotsOfPattern(parse(cron, timezone))
    : slotsByClock(slotsOfPattern(parse(cron, "UTC")), zoneClock(timezone));
  if (slots.after(new Date(0))) return slots;
  throw refused(
    "cron",
    locate,
    "no pattern that ever comes; expected minute, hour, day, month and weekday, such as `30 2 * * *`",
  );
}

const slotsOfPattern = (pattern: Cron | undefined): Slots => ({
  after: (moment) => pattern?.nextRun(moment) ?? undefined,
  // A slot at the very moment counts, and it is asked for what lies before.
  upTo: (moment) => pattern?.previousRuns(1, new Date(moment.getTime() + 1))[0],
});

/** @param shown what a clock shows when a slot comes, written as UTC */
function slotsByClock(shown: Slots, { aheadAt, momentOf }: ZoneClock): Slots {
  const aheadAround = (moment: number) => [aheadAt(moment), aheadAt(moment - dayMillis)];
  return {
    after(date) {
      const moment = date.getTime();
      let first = Number.POSITIVE_INFINITY;
      // What a gap has put off lies before what the clock shows behind it.
      let next = shown.after(new Date(moment + Math.min(...aheadAround(moment))));
      for (; next; next = shown.after(next)) {
        const slot = momentOf(next.getTime());
        if (slot > moment) first = Math.min(first, slot);
        const isShown = slot + aheadAt(slot) === next.getTime();
        if (slot > moment && isShown) break;
      }
      return Number.isFinite(first) ? new Date(first) : undefined;
    },
    upTo(date) {
      const moment = date.getTime();
      let last = Number.NEGATIVE_INFINITY;
      let before = shown.upTo(new Date(moment + Math.max(...aheadAround(moment))));
      for (; before; before = shown.upTo(new Date(before.getTime() - 1))) {
        const slot = momentOf(before.getTime());
        if (slot <= moment) last = Math.max(last, slot);
        const isFound = Number.isFinite(last);
        if (isFound && before.getTime() <= last + Math.min(...aheadAround(last))) break;
      }
      return Number.isFinite(last) ? new Date(last) : undefined;
    },
  };
}

function passesTime(cron: string): boolean {
  const parts = cron.trim().split(/\s+/);
  return parts.length === 1 ? /hourly/i.test(cron) : /[*/?]/.test(parts.at(-4) ?? "");
}

/** Five fields, six with seconds first, or a name; never a date, which croner would take as well. */
const fields = /^(@[a-z]+|\S+(\s+\S+){4,5})$/;

function parse(cron: string, timezone: string): Cron | undefined {
  if (!fields.test(cron.trim())) return undefined;
  try {
    return new Cron(cron, { timezone, paused: true, mode: "5-or-6-parts" });
  } catch {
    return undefined;
  }
}

function isZone(timezone: string): boolean {
  try {
    return new Intl.DateTimeFormat("en", { timeZone: timezone }).resolvedOptions().timeZone !== "";
  } catch {
    return false;
  }
}

function refused(key: string, locate: Locate | undefined, what: string): PipelineError {
  const place = locate ? `${printPlace(locate(["schedule", key]))}: ` : "";
  return new PipelineError("config-invalid", `${place}schedule.${key}: ${what}`);
}

/**
 * When a pipeline is to run: cron patterns in a time zone. The only file that knows croner, which is asked for times and
 * never waits or calls: who serves has a clock of its own.
 *
 * Where clocks are put forward, a time that the day does not have comes as much later as the gap is long; where they are
 * put back, a time that the day has twice comes once, the first time. Patterns with `*` or `/` go by the time that passes.
 */
import { Cron } from "croner";
import { PipelineError } from "../errors.ts";
import { printPlace, type Locate } from "./problems.ts";
import type { ScheduleConfig } from "./spec.ts";

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
  const pattern = parse(cron, timezone);
  const slots: Slots = {
    after: (moment) => pattern?.nextRun(moment) ?? undefined,
    // A slot at the very moment counts, and it is asked for what lies before.
    upTo: (moment) => pattern?.previousRuns(1, new Date(moment.getTime() + 1))[0],
  };
  if (slots.after(new Date(0))) return slots;
  throw refused(
    "cron",
    locate,
    "no pattern that ever comes; expected minute, hour, day, month and weekday, such as `30 2 * * *`",
  );
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

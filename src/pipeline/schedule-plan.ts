/** What the plan says of a schedule: that it can be kept, and what becomes of older exports. */
import { PipelineError } from "../errors.ts";
import { checkDestinationUrl } from "../stages/destinations/schemes.ts";
import { printPlace, type Locate } from "./problems.ts";
import { measureReference } from "./references.ts";
import type { KeepConfig, ScheduleConfig } from "./spec.ts";

/** Destinations that can let go of single objects. */
const removing: ReadonlySet<string> = new Set(["file:", "s3:"]);

/**
 * Sentences on the schedule.
 * @param to the destination as written
 * @throws PipelineError `config-invalid` for a pattern that never comes, or exports that could not be removed
 */
export async function planSchedule(
  schedule: ScheduleConfig | undefined,
  to: string,
  locate: Locate | undefined,
): Promise<readonly string[]> {
  if (!schedule) return [];
  const { cron, timezone, overlap, keep } = schedule;
  if (measureReference(cron) === "none" && measureReference(timezone) === "none") {
    // A plan without a schedule needs nothing of it in memory.
    const { slotsOf } = await import("./schedule.ts");
    slotsOf(schedule, locate);
  }
  const when = `\`spillway serve\` runs it at \`${cron}\`, ${timezone}; a slot that comes while a run goes on: ${overlap}`;
  if (!keep || (keep.runs === undefined && keep.days === undefined)) return [when];
  if (measureReference(to) === "none") refuseKeeping(checkDestinationUrl(to), locate);
  return [when, `once an export is committed, others of this pipeline go: ${describeKeep(keep)}`];
}

function describeKeep({ runs, days }: KeepConfig): string {
  const kept = [
    ...(runs === undefined ? [] : [`the newest ${runs}`]),
    ...(days === undefined ? [] : [`those of the last ${days} days`]),
  ];
  return `${kept.join(" and ")} stay, the newest always, and what is not complete`;
}

function refuseKeeping({ protocol }: URL, locate: Locate | undefined): void {
  if (removing.has(protocol)) return;
  const place = locate ? `${printPlace(locate(["schedule", "keep"]))}: ` : "";
  throw new PipelineError(
    "config-invalid",
    `${place}schedule.keep: a destination ${protocol}// cannot remove single exports; expected file:// or s3://, or no \`keep\``,
  );
}

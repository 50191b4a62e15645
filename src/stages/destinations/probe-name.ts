/**
 * Names of what `doctor` stores to see. They tell when (as UUIDs of version 7 do, RFC 9562 §5.7), so that what a look that
 * was killed could not take back is known as such by the next one, which leaves that of others beside it alone.
 */
import { randomBytes } from "node:crypto";

/** Longer than any look lasts, and any clock of ours is wrong. */
const agedMillis = 3_600_000;
const pattern =
  /^doctor-([0-9a-f]{8})-([0-9a-f]{4})-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}(?:-\d)?$/;

/** A name nobody has, below the pipeline's folder. */
export function probeName(folder: string, now = Date.now()): string {
  const time = now.toString(16).padStart(12, "0");
  const chance = randomBytes(10).toString("hex");
  const uuid = [
    time.slice(0, 8),
    time.slice(8),
    `7${chance.slice(0, 3)}`,
    `8${chance.slice(3, 6)}`,
    chance.slice(6, 18),
  ].join("-");
  return `${folder}/doctor-${uuid}`;
}

/** Whether a name below the folder is of a look that must have ended long ago. */
export function isLeftover(name: string, folder: string, now = Date.now()): boolean {
  if (!name.startsWith(`${folder}/`)) return false;
  const [, high, low] = pattern.exec(name.slice(folder.length + 1)) ?? [];
  return high !== undefined && Number.parseInt(`${high}${low}`, 16) < now - agedMillis;
}

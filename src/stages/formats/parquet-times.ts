/** Dates and times as Parquet counts them: days and microseconds since 1970, in the proleptic Gregorian calendar. */

const dayMillis = 86_400_000;
const date = /^(\d{4,6})-(\d\d)-(\d\d)$/;
const timestamp =
  /^(\d{4,6}-\d\d-\d\d)[ T](\d\d):(\d\d):(\d\d)(?:\.(\d{1,6}))?(Z|[+-]\d\d(?::?\d\d)?)?$/;

/** Days of a date's text; undefined for what is none there: infinity, a day before Christ, a zero date. */
export function parseDays(cell: unknown): number | undefined {
  const millis = cell instanceof Date ? cell.getTime() : millisOf(String(cell));
  return millis === undefined || Number.isNaN(millis) ? undefined : Math.floor(millis / dayMillis);
}

/** Microseconds of a timestamp's text, which has a zone if, and only if, it is an instant. */
export function parseMicros(cell: unknown, isInstant: boolean): bigint | undefined {
  if (cell instanceof Date)
    return Number.isNaN(cell.getTime()) ? undefined : BigInt(cell.getTime()) * 1000n;
  const [, day = "", hours, minutes, seconds, digits = "", zone] =
    timestamp.exec(String(cell)) ?? [];
  const midnight = millisOf(day);
  if (midnight === undefined || (zone !== undefined) !== isInstant) return undefined;
  if (Number(hours) > 24 || Number(minutes) > 59 || Number(seconds) > 60) return undefined;
  const inDay = Number(hours) * 3600 + Number(minutes) * 60 + Number(seconds);
  const wholeSeconds = BigInt(midnight / 1000 + inDay - 60 * minutesOf(zone ?? "Z"));
  return wholeSeconds * 1_000_000n + BigInt(digits.padEnd(6, "0"));
}

function millisOf(text: string): number | undefined {
  const [, year, month, day] = date.exec(text) ?? [];
  if (year === undefined) return undefined;
  const made = new Date(0);
  // Not `Date.UTC`, to which the first hundred years are those of 1900.
  made.setUTCFullYear(Number(year), Number(month) - 1, Number(day));
  const isDay = made.getUTCMonth() === Number(month) - 1 && made.getUTCDate() === Number(day);
  return isDay && Number(year) > 0 ? made.getTime() : undefined;
}

function minutesOf(zone: string): number {
  if (zone === "Z") return 0;
  const [hours, minutes] = [Number(zone.slice(1, 3)), Number(zone.slice(3).replace(":", "") || 0)];
  return (zone.startsWith("-") ? -1 : 1) * (60 * hours + minutes);
}

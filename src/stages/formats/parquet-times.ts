/** Dates and times as Parquet counts them: days and parts of a second since 1970, in the proleptic Gregorian calendar. */

const dayMillis = 86_400_000;
const date = /^(\d{4,6})-(\d\d)-(\d\d)$/;
const timestamp =
  /^(\d{4,6}-\d\d-\d\d)[ T](\d\d):(\d\d):(\d\d)(?:\.(\d{1,9}))?(Z|[+-]\d\d(?::?\d\d)?)?$/;

/** Days of a date's text; undefined for what is none there: infinity, a day before Christ, a zero date. */
export function parseDays(cell: unknown): number | undefined {
  const millis = cell instanceof Date ? cell.getTime() : millisOf(String(cell));
  return millis === undefined || Number.isNaN(millis) ? undefined : Math.floor(millis / dayMillis);
}

/** What a second is counted in: so many digits behind its point. */
const secondDigits = { MICROS: 6, NANOS: 9 };

/** The count of a timestamp's text, which has a zone if, and only if, it is an instant. */
export function parseTimestamp(
  cell: unknown,
  unit: keyof typeof secondDigits,
  isInstant: boolean,
): bigint | undefined {
  const digits = secondDigits[unit];
  if (cell instanceof Date)
    return Number.isNaN(cell.getTime())
      ? undefined
      : fitting(BigInt(cell.getTime()) * 10n ** BigInt(digits - 3));
  const [, day = "", hours, minutes, seconds, fraction = "", zone] =
    timestamp.exec(String(cell)) ?? [];
  const midnight = millisOf(day);
  if (midnight === undefined || (zone !== undefined) !== isInstant) return undefined;
  if (Number(hours) > 24 || Number(minutes) > 59 || Number(seconds) > 60) return undefined;
  if (fraction.length > digits) return undefined;
  const inDay = Number(hours) * 3600 + Number(minutes) * 60 + Number(seconds);
  const wholeSeconds = BigInt(midnight / 1000 + inDay - 60 * minutesOf(zone ?? "Z"));
  return fitting(wholeSeconds * 10n ** BigInt(digits) + BigInt(fraction.padEnd(digits, "0")));
}

/** The least and the greatest number are infinities to some readers. */
const fitting = (count: bigint): bigint | undefined =>
  count > -(2n ** 63n) && count < 2n ** 63n - 1n ? count : undefined;

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

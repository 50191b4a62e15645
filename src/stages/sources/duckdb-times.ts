/**
 * Days and times as DuckDB counts them, printed as PostgreSQL prints them. Its range is wider than that of JavaScript's `Date`,
 * and the package's own texts have a year 0.
 * Source: https://howardhinnant.github.io/date_algorithms.html (civil_from_days)
 */

const eraDays = 146_097;
/** Days from the first of March of the year 0 to 1970. */
const epochDays = 719_468;
const dayUnits = { s: 86_400n, ms: 86_400_000n, us: 86_400_000_000n, ns: 86_400_000_000_000n };
const digitsOf = { s: 0, ms: 3, us: 6, ns: 9 };

export type TimeUnit = keyof typeof dayUnits;

const mostDays = 2 ** 31 - 1;
const mostUnits = 2n ** 63n - 1n;

export function printDate(days: number): string {
  if (Math.abs(days) === mostDays) return days > 0 ? "infinity" : "-infinity";
  const { text, era } = printDay(days);
  return text + era;
}

/** A timestamp counted in `unit` since 1970; `zone` follows the time. */
export function printTimestamp(count: bigint, unit: TimeUnit, zone = ""): string {
  if (count === mostUnits || count === -mostUnits) return count > 0n ? "infinity" : "-infinity";
  const day = dayUnits[unit];
  const rest = ((count % day) + day) % day;
  const { text, era } = printDay(Number((count - rest) / day));
  return `${text} ${printTime(rest, unit)}${zone}${era}`;
}

/** Time of day, without noughts behind its last digit. */
export function printTime(count: bigint, unit: TimeUnit): string {
  const perSecond = dayUnits[unit] / dayUnits.s;
  const seconds = Number(count / perSecond);
  const digits = String(count % perSecond).padStart(digitsOf[unit], "0");
  const fraction = unit === "s" ? "" : digits.replace(/0+$/, "");
  const parts = [Math.floor(seconds / 3600), Math.floor(seconds / 60) % 60, seconds % 60];
  return parts.map(twoDigits).join(":") + (fraction && `.${fraction}`);
}

/** Seconds east of Greenwich as `+05:30`, no longer than it must be. */
export function printOffset(seconds: number): string {
  const amount = Math.abs(seconds);
  const parts = [Math.floor(amount / 3600), Math.floor(amount / 60) % 60, amount % 60];
  while (parts.length > 1 && parts.at(-1) === 0) parts.pop();
  return (seconds < 0 ? "-" : "+") + parts.map(twoDigits).join(":");
}

const twoDigits = (part: number): string => String(part).padStart(2, "0");

function printDay(days: number): { readonly text: string; readonly era: string } {
  const { year, month, day } = dayOf(days);
  const isAfter = year > 0;
  const shown = String(isAfter ? year : 1 - year).padStart(4, "0");
  return { text: `${shown}-${twoDigits(month)}-${twoDigits(day)}`, era: isAfter ? "" : " BC" };
}

/** The proleptic Gregorian day, with a year 0; years begin in March, so that a leap day is their last. */
function dayOf(days: number) {
  const shifted = days + epochDays;
  const era = Math.floor(shifted / eraDays);
  const dayOfEra = shifted - era * eraDays;
  const leapDays =
    Math.floor(dayOfEra / 1460) - Math.floor(dayOfEra / 36_524) + Math.floor(dayOfEra / 146_096);
  const yearOfEra = Math.floor((dayOfEra - leapDays) / 365);
  const dayOfYear =
    dayOfEra - (365 * yearOfEra + Math.floor(yearOfEra / 4) - Math.floor(yearOfEra / 100));
  const marchMonth = Math.floor((5 * dayOfYear + 2) / 153);
  const day = dayOfYear - Math.floor((153 * marchMonth + 2) / 5) + 1;
  const month = marchMonth < 10 ? marchMonth + 3 : marchMonth - 9;
  return { year: yearOfEra + 400 * era + (month <= 2 ? 1 : 0), month, day };
}

/**
 * Binary dates and timestamps as PostgreSQL prints them in the ISO style and in JSON, in UTC.
 * Source: `src/backend/utils/adt/datetime.c`; days to calendar: Howard Hinnant, "chrono-Compatible Low-Level Date Algorithms".
 */
import { copy, put } from "./memory";
import { fourDigits, twoDigits, unsigned } from "./numbers";

const dayMicros: i64 = 86_400_000_000;
/** From 0000-03-01, where a calendar of leap days at its end begins, to 2000-01-01. */
const daysToEpoch: i32 = 730_425;
const eraDays: i32 = 146_097;

const infinity = memory.data<u8>([0x69, 0x6e, 0x66, 0x69, 0x6e, 0x69, 0x74, 0x79]);
const beforeChrist: u32 = 0x434220;

/** The date written last, for times that follow each other. */
const lastDate = memory.data(32);
let lastDays: i32 = i32.MIN_VALUE;
let lastMidnight: i64 = i64.MIN_VALUE;
let lastBytes: usize = 0;
let lastIsBc: bool = false;

/** `infinity` or `-infinity`. */
function endless(to: usize, isNegative: bool): usize {
  if (isNegative) to = put(to, 0x2d);
  store<u64>(to, load<u64>(infinity));
  return to + 8;
}

function writeLast(days: i32): void {
  lastDays = days;
  lastBytes = writeDay(lastDate, days) - lastDate;
}

/** `YYYY-MM-DD` of days since 2000-01-01; whether the era follows is in `lastIsBc`. */
function writeDay(to: usize, days: i32): usize {
  const shifted = days + daysToEpoch;
  const era = (shifted >= 0 ? shifted : shifted - (eraDays - 1)) / eraDays;
  const dayOfEra = shifted - era * eraDays;
  const yearOfEra = (dayOfEra - dayOfEra / 1460 + dayOfEra / 36_524 - dayOfEra / 146_096) / 365;
  const dayOfYear = dayOfEra - (365 * yearOfEra + yearOfEra / 4 - yearOfEra / 100);
  const monthFromMarch = (5 * dayOfYear + 2) / 153;
  const day = dayOfYear - (153 * monthFromMarch + 2) / 5 + 1;
  const month = monthFromMarch < 10 ? monthFromMarch + 3 : monthFromMarch - 9;
  const year = yearOfEra + era * 400 + (month <= 2 ? 1 : 0);
  lastIsBc = year <= 0;
  const shown = lastIsBc ? 1 - year : year;
  to = shown < 10_000 ? fourDigits(to, shown) : unsigned(to, shown);
  to = twoDigits(put(to, 0x2d), month);
  return twoDigits(put(to, 0x2d), day);
}

function era(to: usize): usize {
  if (!lastIsBc) return to;
  store<u32>(to, beforeChrist);
  return to + 3;
}

export function date(to: usize, days: i32): usize {
  if (days == i32.MAX_VALUE || days == i32.MIN_VALUE) return endless(to, days < 0);
  if (days != lastDays) writeLast(days);
  return era(copy(to, lastDate, lastBytes));
}

/**
 * Microseconds since 2000-01-01.
 * @param between the byte between date and time
 * @param zone what stands for UTC behind the time: `zoneBytes` bytes of it
 */
export function timestamp(
  to: usize,
  micros: i64,
  between: i32,
  zone: u64,
  zoneBytes: usize,
): usize {
  if (micros == i64.MAX_VALUE || micros == i64.MIN_VALUE) return endless(to, micros < 0);
  let rest = micros - lastMidnight;
  if (rest < 0 || rest >= dayMicros) {
    let days = micros / dayMicros;
    if (micros < days * dayMicros) days -= 1;
    lastMidnight = days * dayMicros;
    rest = micros - lastMidnight;
    writeLast(<i32>days);
  } else if (lastMidnight != <i64>lastDays * dayMicros) writeLast(<i32>(lastMidnight / dayMicros));
  to = put(copy(to, lastDate, lastBytes), between);
  // A million is 64 × 15625, and the quotient by 64 has 31 bits.
  const seconds = <u32>(rest >> 6) / 15_625;
  const fraction = <i32>(rest - <i64>seconds * 1_000_000);
  const minutes = seconds / 60;
  const hours = minutes / 60;
  to = twoDigits(to, hours);
  to = twoDigits(put(to, 0x3a), minutes - hours * 60);
  to = twoDigits(put(to, 0x3a), seconds - minutes * 60);
  if (fraction != 0) to = withoutZeros(sixDigits(put(to, 0x2e), fraction));
  store<u64>(to, zone);
  return era(to + zoneBytes);
}

function sixDigits(to: usize, value: i32): usize {
  const thousands = value / 100;
  return twoDigits(fourDigits(to, thousands), value - thousands * 100);
}

function withoutZeros(end: usize): usize {
  while (load<u8>(end - 1) == 0x30) end -= 1;
  return end;
}

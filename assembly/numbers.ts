/** Binary integers and numerics as PostgreSQL prints them. Source: `src/backend/utils/adt/numeric.c`, `numeric_send`. */
import { int16, put } from "./memory";

/** Writes the decimal digits of `value`. */
export function unsigned(to: usize, value: u64): usize {
  if (value < 10) return put(to, 0x30 + <i32>value);
  if (value <= 0xffffffff) return unsigned32(to, <u32>value);
  // Nine digits at a time: 64 bits are divided as seldom as can be.
  const upper = value / 1_000_000_000;
  to = unsigned(to, upper);
  let rest = <u32>(value - upper * 1_000_000_000);
  const last = rest % 10;
  rest /= 10;
  to = fourDigits(to, rest / 10_000);
  to = fourDigits(to, rest % 10_000);
  return put(to, 0x30 + last);
}

function unsigned32(to: usize, value: u32): usize {
  const end = to + digitsOf(value);
  let at = end;
  while (value >= 100) {
    const rest = value / 100;
    at -= 2;
    twoDigits(at, value - rest * 100);
    value = rest;
  }
  if (value >= 10) twoDigits(to, value);
  else store<u8>(to, 0x30 + value);
  return end;
}

function digitsOf(value: u32): usize {
  if (value < 10_000) return value < 100 ? (value < 10 ? 1 : 2) : value < 1000 ? 3 : 4;
  if (value < 1_000_000) return value < 100_000 ? 5 : 6;
  if (value < 100_000_000) return value < 10_000_000 ? 7 : 8;
  return value < 1_000_000_000 ? 9 : 10;
}

export function signed(to: usize, value: i64): usize {
  if (value >= 0) return unsigned(to, value);
  return unsigned(put(to, 0x2d), -value);
}

/** Two digits, with a leading zero. */
export function twoDigits(to: usize, value: i32): usize {
  const tens = value / 10;
  store<u16>(to, 0x3030 + tens + ((value - tens * 10) << 8));
  return to + 2;
}

export function fourDigits(to: usize, value: i32): usize {
  const hundreds = value / 100;
  return twoDigits(twoDigits(to, hundreds), value - hundreds * 100);
}

const headBytes: usize = 8;
const mostScale: u16 = 0x3fff;
const negative: i32 = 0x4000;
const notANumber: i32 = 0xc000;
const infinity: i32 = 0xd000;
const negativeInfinity: i32 = 0xf000;
const word = memory.data<u8>([
  0x2d, 0x49, 0x6e, 0x66, 0x69, 0x6e, 0x69, 0x74, 0x79, 0x4e, 0x61, 0x4e,
]);

/** The most bytes the numeric at `from` becomes. */
export function numericBytes(from: usize): usize {
  const weight = int16(from + 2);
  const scale = <i32>bswap<u16>(load<u16>(from + 6));
  return <usize>(max(weight + 1, 1) * 4 + scale + 16);
}

/** True when the value between `from` and `end` is as long as it says, of a scale and of digits that there are. */
export function isNumeric(from: usize, end: usize): bool {
  if (end - from < headBytes) return false;
  if (end - from != headBytes + 2 * <usize>bswap<u16>(load<u16>(from))) return false;
  if (bswap<u16>(load<u16>(from + 6)) > mostScale) return false;
  for (let at = from + headBytes; at < end; at += 2) {
    if (bswap<u16>(load<u16>(at)) > 9999) return false;
  }
  return true;
}

/**
 * A numeric: its digits in base 10000, `weight` of the first, sign, and how many decimals are printed.
 * @param mark what stands around NaN and the infinities, or 0
 */
export function numeric(to: usize, from: usize, mark: i32): usize {
  const count = <i32>bswap<u16>(load<u16>(from));
  const weight = int16(from + 2);
  const sign = int16(from + 4) & 0xffff;
  const scale = int16(from + 6);
  if ((sign & notANumber) == notANumber) return special(to, sign, mark);
  if (sign == negative) to = put(to, 0x2d);
  const digits = from + headBytes;
  if (weight < 0) to = put(to, 0x30);
  for (let i = 0; i <= weight; i += 1) {
    const digit = i < count ? int16(digits + 2 * i) : 0;
    to = i == 0 ? unsigned(to, digit) : fourDigits(to, digit);
  }
  if (scale == 0) return to;
  const fraction = put(to, 0x2e);
  to = fraction;
  for (let i = weight + 1; to < fraction + scale; i += 1) {
    to = fourDigits(to, i >= 0 && i < count ? int16(digits + 2 * i) : 0);
  }
  return fraction + scale;
}

function special(to: usize, sign: i32, mark: i32): usize {
  if (mark != 0) to = put(to, mark);
  let from: usize = word + 9;
  let bytes: usize = 3;
  if (sign == infinity || sign == negativeInfinity) {
    from = sign == infinity ? word + 1 : word;
    bytes = sign == infinity ? 8 : 9;
  }
  memory.copy(to, from, bytes);
  to += bytes;
  return mark != 0 ? put(to, mark) : to;
}

/**
 * The tokens of JSON (RFC 8259), and the white space between them.
 *
 * What reads takes where to begin and the text's end, and gives where that which it read ends: 0 for what is no JSON.
 */
import { copy, meant } from "./memory";

export const quote: u8 = 0x22;
export const comma: u8 = 0x2c;
export const colon: u8 = 0x3a;
const plus: u8 = 0x2b;
const minus: u8 = 0x2d;
const point: u8 = 0x2e;
const zero: u8 = 0x30;
const backslash: u8 = 0x5c;

/** The string that was read last has escapes. */
export let hasEscapes: bool = false;
/** Bytes of white space between tokens so far. */
export let spaces: usize = 0;

/** From behind the opening quote to behind the closing one. */
export function readString(at: usize, end: usize): usize {
  hasEscapes = false;
  while (at < end) {
    const bytes = v128.load(at);
    const special = v128.or(
      i8x16.lt_u(bytes, i8x16.splat(0x20)),
      v128.or(i8x16.eq(bytes, i8x16.splat(<i8>quote)), i8x16.eq(bytes, i8x16.splat(<i8>backslash))),
    );
    const bits = meant(i8x16.bitmask(special), end - at);
    if (bits == 0) {
      at += 16;
      continue;
    }
    at += <usize>ctz(bits);
    const byte = load<u8>(at);
    if (byte == quote) return at + 1;
    if (byte != backslash) return 0;
    hasEscapes = true;
    at = readEscape(at + 1, end);
    if (at == 0) return 0;
  }
  return 0;
}

function readEscape(at: usize, end: usize): usize {
  if (at >= end) return 0;
  switch (<i32>load<u8>(at)) {
    case 0x22: // "
    case 0x2f: // /
    case 0x5c: // \
    case 0x62: // b
    case 0x66: // f
    case 0x6e: // n
    case 0x72: // r
    case 0x74: // t
      return at + 1;
    case 0x75: // u
      return at + 5 <= end && isHex(at + 1) && isHex(at + 2) && isHex(at + 3) && isHex(at + 4)
        ? at + 5
        : 0;
    default:
      return 0;
  }
}

function isHex(at: usize): bool {
  const byte = load<u8>(at);
  return isDigit(byte) || ((byte | 0x20) >= 0x61 && (byte | 0x20) <= 0x66);
}

export function readNumber(at: usize, end: usize): usize {
  if (load<u8>(at) == minus) at += 1;
  if (at >= end || !isDigit(load<u8>(at))) return 0;
  at = load<u8>(at) == zero ? at + 1 : skipDigits(at, end);
  if (at < end && load<u8>(at) == point) {
    const digits = at + 1;
    at = skipDigits(digits, end);
    if (at == digits) return 0;
  }
  if (at >= end || (load<u8>(at) | 0x20) != 0x65) return at;
  at += 1;
  if (at < end && (load<u8>(at) == plus || load<u8>(at) == minus)) at += 1;
  const exponent = at;
  at = skipDigits(at, end);
  return at == exponent ? 0 : at;
}

function skipDigits(at: usize, end: usize): usize {
  while (at < end && isDigit(load<u8>(at))) at += 1;
  return at;
}

function isDigit(byte: u8): bool {
  return byte >= zero && byte <= 0x39;
}

/** @param word four letters, the first of them in the lowest byte */
export function readWord(at: usize, end: usize, word: u32): usize {
  return at + 4 <= end && load<u32>(at) == word ? at + 4 : 0;
}

export function skipSpace(at: usize, end: usize): usize {
  const start = at;
  while (at < end) {
    const byte = load<u8>(at);
    if (byte != 0x20 && byte != 0x0a && byte != 0x0d && byte != 0x09) break;
    at += 1;
  }
  spaces += at - start;
  return at;
}

/** Writes JSON at `to` without the white space between its tokens; gives where it ends. */
export function compact(at: usize, end: usize, to: usize): usize {
  while (at < end) {
    const start = at;
    if (load<u8>(at) == quote) {
      at = readString(at + 1, end);
      to = copy(to, start, at - start);
      continue;
    }
    at = skipSpace(at, end);
    if (at > start) continue;
    store<u8>(to, load<u8>(at));
    to += 1;
    at += 1;
  }
  return to;
}

/**
 * One FHIR resource: proves that a text is JSON (RFC 8259) and finds where its resourceType, id, meta.versionId and
 * meta.tag stand, without making anything of the rest.
 *
 * What reads takes where to begin and the text's end, and gives where that which it read ends: 0 for what is no JSON.
 */
import { meant } from "./memory";

const quote: u8 = 0x22;
const plus: u8 = 0x2b;
const comma: u8 = 0x2c;
const minus: u8 = 0x2d;
const point: u8 = 0x2e;
const zero: u8 = 0x30;
const colon: u8 = 0x3a;
const backslash: u8 = 0x5c;
const openArray: u8 = 0x5b;
const closeArray: u8 = 0x5d;
const openObject: u8 = 0x7b;
const closeObject: u8 = 0x7d;

/** What is deeper, or whose names are written with escapes, is left to the parser. */
const mostDepth: i32 = 128;
let isUnusual: bool = false;

/** Start and end of each value that was found, 0 and 0 of one that was not. */
export const found: usize = memory.data(32);
const typeSlot: i32 = 0;
const idSlot: i32 = 8;
const versionSlot: i32 = 16;
const tagSlot: i32 = 24;
const metaSlot: i32 = 32;
const noSlot: i32 = -1;

const typeName = memory.data<u8>([
  0x72, 0x65, 0x73, 0x6f, 0x75, 0x72, 0x63, 0x65, 0x54, 0x79, 0x70, 0x65,
]);
const idName = memory.data<u8>([0x69, 0x64]);
const metaName = memory.data<u8>([0x6d, 0x65, 0x74, 0x61]);
const versionName = memory.data<u8>([0x76, 0x65, 0x72, 0x73, 0x69, 0x6f, 0x6e, 0x49, 0x64]);
const tagName = memory.data<u8>([0x74, 0x61, 0x67]);

/** What is read is a value of the resource's `meta`. */
let inMeta: bool = false;
/** The string that was read last has escapes. */
let hasEscapes: bool = false;

/** 0: no JSON. 1: an object, see `found`. 2: for the parser to say. */
export function readResource(at: usize, end: usize): i32 {
  memory.fill(found, 0, 32);
  isUnusual = false;
  inMeta = false;
  at = skipSpace(at, end);
  if (at >= end || load<u8>(at) != openObject) return 2;
  at = readObject(at + 1, end, 1);
  if (isUnusual) return 2;
  return at != 0 && skipSpace(at, end) >= end ? 1 : 0;
}

function readValue(at: usize, end: usize, depth: i32): usize {
  if (at >= end) return 0;
  const byte = load<u8>(at);
  if (byte == quote) return readString(at + 1, end);
  if (byte == openObject) return readObject(at + 1, end, depth + 1);
  if (byte == openArray) return readArray(at + 1, end, depth + 1);
  if (byte == 0x74) return readWord(at, end, 0x65757274); // true
  if (byte == 0x6e) return readWord(at, end, 0x6c6c756e); // null
  if (byte == 0x66) return readWord(at + 1, end, 0x65736c61); // f, alse
  return readNumber(at, end);
}

function readObject(at: usize, end: usize, depth: i32): usize {
  if (depth > mostDepth) return giveUp();
  at = skipSpace(at, end);
  if (at < end && load<u8>(at) == closeObject) return at + 1;
  while (at < end && load<u8>(at) == quote) {
    const name = at + 1;
    at = readString(name, end);
    if (at == 0) return 0;
    const slot = slotOf(name, at - 1, depth);
    at = skipSpace(at, end);
    if (at >= end || load<u8>(at) != colon) return 0;
    at = readMember(skipSpace(at + 1, end), end, depth, slot);
    if (at == 0) return 0;
    at = skipSpace(at, end);
    if (at >= end) return 0;
    const byte = load<u8>(at);
    if (byte == closeObject) return at + 1;
    if (byte != comma) return 0;
    at = skipSpace(at + 1, end);
  }
  return 0;
}

/** Of members that repeat the last one counts, as for the parser. */
function readMember(at: usize, end: usize, depth: i32, slot: i32): usize {
  if (slot == noSlot) return readValue(at, end, depth);
  if (slot == metaSlot) {
    memory.fill(found + versionSlot, 0, 16);
    inMeta = true;
    at = readValue(at, end, depth);
    inMeta = false;
    return at;
  }
  const start = at;
  at = readValue(at, end, depth);
  store<u32>(found + slot, <u32>start);
  store<u32>(found + slot, <u32>at, 4);
  return at;
}

function readArray(at: usize, end: usize, depth: i32): usize {
  if (depth > mostDepth) return giveUp();
  at = skipSpace(at, end);
  if (at < end && load<u8>(at) == closeArray) return at + 1;
  while (true) {
    at = readValue(at, end, depth);
    if (at == 0) return 0;
    at = skipSpace(at, end);
    if (at >= end) return 0;
    const byte = load<u8>(at);
    if (byte == closeArray) return at + 1;
    if (byte != comma) return 0;
    at = skipSpace(at + 1, end);
  }
}

function giveUp(): usize {
  isUnusual = true;
  return 0;
}

function slotOf(name: usize, end: usize, depth: i32): i32 {
  const isTop = depth == 1;
  if (!isTop && !(inMeta && depth == 2)) return noSlot;
  if (hasEscapes) isUnusual = true;
  const bytes = end - name;
  if (isTop) {
    if (isName(name, bytes, typeName, 12)) return typeSlot;
    if (isName(name, bytes, idName, 2)) return idSlot;
    return isName(name, bytes, metaName, 4) ? metaSlot : noSlot;
  }
  if (isName(name, bytes, versionName, 9)) return versionSlot;
  return isName(name, bytes, tagName, 3) ? tagSlot : noSlot;
}

function isName(at: usize, bytes: usize, name: usize, nameBytes: usize): bool {
  return bytes == nameBytes && memory.compare(at, name, bytes) == 0;
}

/** From behind the opening quote to behind the closing one. */
function readString(at: usize, end: usize): usize {
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

function readNumber(at: usize, end: usize): usize {
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
function readWord(at: usize, end: usize, word: u32): usize {
  return at + 4 <= end && load<u32>(at) == word ? at + 4 : 0;
}

function skipSpace(at: usize, end: usize): usize {
  while (at < end) {
    const byte = load<u8>(at);
    if (byte != 0x20 && byte != 0x0a && byte != 0x0d && byte != 0x09) break;
    at += 1;
  }
  return at;
}

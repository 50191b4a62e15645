/**
 * One FHIR resource, or one entry of a Bundle around it: proves that a text is JSON (RFC 8259) and finds where the few values
 * stand that an export must know, without making anything of the rest.
 *
 * What reads takes where to begin and the text's end, and gives where that which it read ends: 0 for what is no JSON.
 */
import {
  colon,
  comma,
  hasEscapes,
  quote,
  readNumber,
  readString,
  readWord,
  skipSpace,
  spaces,
} from "./json-text";

export { digest } from "./digest";
export { compact } from "./json-text";

const openArray: u8 = 0x5b;
const closeArray: u8 = 0x5d;
const openObject: u8 = 0x7b;
const closeObject: u8 = 0x7d;

/** What is deeper, or whose names are written with escapes, is left to the parser. */
const mostDepth: i32 = 128;
let isUnusual: bool = false;

/** Start and end of each value that was found, 0 and 0 of one that was not; then the bytes of white space in the resource. */
export const found: usize = memory.data(52);
const typeSlot: i32 = 0;
const idSlot: i32 = 8;
const versionSlot: i32 = 16;
const tagSlot: i32 = 24;
const resourceSlot: i32 = 32;
const modeSlot: i32 = 40;
const spacesSlot: i32 = 48;
const metaSlot: i32 = 64;
const searchSlot: i32 = 72;
const noSlot: i32 = -1;
/** The last values of six slots: how long, and their bytes. */
const lasts = memory.data(384);
const lastBytes: usize = 60;

const resourceName = memory.data<u8>([0x72, 0x65, 0x73, 0x6f, 0x75, 0x72, 0x63, 0x65]);
const searchName = memory.data<u8>([0x73, 0x65, 0x61, 0x72, 0x63, 0x68]);
const modeName = memory.data<u8>([0x6d, 0x6f, 0x64, 0x65]);
const typeName = memory.data<u8>([
  0x72, 0x65, 0x73, 0x6f, 0x75, 0x72, 0x63, 0x65, 0x54, 0x79, 0x70, 0x65,
]);
const idName = memory.data<u8>([0x69, 0x64]);
const metaName = memory.data<u8>([0x6d, 0x65, 0x74, 0x61]);
const versionName = memory.data<u8>([0x76, 0x65, 0x72, 0x73, 0x69, 0x6f, 0x6e, 0x49, 0x64]);
const tagName = memory.data<u8>([0x74, 0x61, 0x67]);

/** What members are looked at, and how deep they stand: those of the entry, the resource, its `meta`, the entry's `search`. */
let within: i32 = noSlot;
let namedDepth: i32 = 0;

/** 0: no JSON. 1: an object, see `found`. 2: for the parser to say. */
export function readResource(at: usize, end: usize): i32 {
  begin();
  at = skipSpace(at, end);
  if (at >= end || load<u8>(at) != openObject) return 2;
  enter(resourceSlot);
  at = readObject(at + 1, end, 1);
  if (isUnusual) return 2;
  return at != 0 && skipSpace(at, end) >= end ? 1 : 0;
}

/**
 * @param at the brace that opens the entry
 * @returns where the entry ends that holds one resource, see `found`. 0: it is no JSON, or goes on behind the text. 1: for others to say
 */
export function readEntry(at: usize, end: usize): usize {
  begin();
  enter(noSlot);
  at = readObject(at + 1, end, 0);
  return isUnusual ? 1 : at;
}

/**
 * Whether the value of a slot is written as it was when this was asked last: most resources that come together have one
 * type, one version and one mode, and what was made of them can be used again.
 */
export function isSame(slot: i32): bool {
  const at = <usize>load<u32>(found + slot);
  const bytes = <usize>load<u32>(found + slot, 4) - at;
  const last = lasts + 8 * slot;
  if (bytes > lastBytes) {
    store<u32>(last, 0);
    return false;
  }
  if (load<u32>(last) == <u32>bytes && memory.compare(last + 4, at, bytes) == 0) return true;
  store<u32>(last, <u32>bytes);
  memory.copy(last + 4, at, bytes);
  return false;
}

function begin(): void {
  memory.fill(found, 0, 52);
  isUnusual = false;
}

function enter(place: i32): void {
  within = place;
  namedDepth = place == noSlot ? 0 : place == metaSlot ? 2 : 1;
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

/** Of members that repeat the last one counts, as for the parser; but one resource is all that an entry may hold. */
function readMember(at: usize, end: usize, depth: i32, slot: i32): usize {
  if (slot == noSlot) return readValue(at, end, depth);
  if (slot < resourceSlot || slot == modeSlot) {
    const start = at;
    at = readValue(at, end, depth);
    return put(slot, start, at);
  }
  if (slot == resourceSlot) return readHeld(at, end, depth);
  const place = within;
  if (slot == metaSlot) memory.fill(found + versionSlot, 0, 16);
  else memory.fill(found + modeSlot, 0, 8);
  enter(slot);
  at = readValue(at, end, depth);
  enter(place);
  return at;
}

/** The resource of an entry. */
function readHeld(at: usize, end: usize, depth: i32): usize {
  const isSecond = load<u32>(found + resourceSlot) != 0;
  if (at >= end) return 0;
  if (isSecond || load<u8>(at) != openObject) return giveUp();
  const start = at;
  const before = spaces;
  enter(resourceSlot);
  at = readValue(at, end, depth);
  enter(noSlot);
  store<u32>(found + spacesSlot, <u32>(spaces - before));
  return put(resourceSlot, start, at);
}

function put(slot: i32, start: usize, end: usize): usize {
  store<u32>(found + slot, <u32>start);
  store<u32>(found + slot, <u32>end, 4);
  return end;
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
  if (depth != namedDepth) return noSlot;
  if (hasEscapes) isUnusual = true;
  const bytes = end - name;
  if (within == resourceSlot) {
    if (isName(name, bytes, typeName, 12)) return typeSlot;
    if (isName(name, bytes, idName, 2)) return idSlot;
    return isName(name, bytes, metaName, 4) ? metaSlot : noSlot;
  }
  if (within == metaSlot) {
    if (isName(name, bytes, versionName, 9)) return versionSlot;
    return isName(name, bytes, tagName, 3) ? tagSlot : noSlot;
  }
  if (within == searchSlot) return isName(name, bytes, modeName, 4) ? modeSlot : noSlot;
  if (isName(name, bytes, resourceName, 8)) return resourceSlot;
  return isName(name, bytes, searchName, 6) ? searchSlot : noSlot;
}

function isName(at: usize, bytes: usize, name: usize, nameBytes: usize): bool {
  return bytes == nameBytes && memory.compare(at, name, bytes) == 0;
}

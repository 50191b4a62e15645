/** The value of a column, by its kind (`value-kinds.ts`), whole or in parts. */
import {
  booleanKind,
  byteaKind,
  csvLoneTextKind,
  csvTextKind,
  dateKind,
  int2Kind,
  int4Kind,
  int8Kind,
  jsonAsIsKind,
  jsonFloatKind,
  jsonLineKind,
  jsonStringKind,
  numericKind,
  timestampKind,
  timestamptzKind,
  uuidKind,
} from "../src/stages/sources/postgres-wire/value-kinds";
import { copy, int16, int32, int64, put } from "./memory";
import { isNumeric, numeric, signed } from "./numbers";
import {
  csvField,
  csvLoneField,
  csvQuote,
  doubleQuotes,
  escapeJson,
  floatJson,
  hexBytes,
  onOneLine,
  quoteJson,
  quotesAll,
  uuid,
} from "./texts";
import { date, timestamp } from "./times";

const quoteMark: i32 = 0x22;
/** `+00:00` and `+00`. */
const zoneInJson: u64 = 0x30303a30302b;
const zoneInText: u64 = 0x30302b;

let isJson: bool = true;

export function writeAs(json: bool): void {
  isJson = json;
}

/** Writes a whole value of a length that its kind may have; gives where it ends, or 0 when it can be no value. */
export function write(kind: i32, to: usize, at: usize, end: usize): usize {
  // Texts see to their quotes themselves.
  if (!quotesAll || kind <= csvLoneTextKind) return writeOne(kind, to, at, end);
  const written = writeOne(kind, put(to, csvQuote), at, end);
  return written == 0 ? 0 : put(written, csvQuote);
}

function writeOne(kind: i32, to: usize, at: usize, end: usize): usize {
  switch (kind) {
    case jsonStringKind:
      return quoteJson(to, at, end);
    case jsonFloatKind:
      return floatJson(to, at, end);
    case jsonLineKind:
      return onOneLine(to, at, end);
    case jsonAsIsKind:
      return copy(to, at, end - at);
    case csvTextKind:
      return csvField(to, at, end);
    case csvLoneTextKind:
      return csvLoneField(to, at, end);
    case int2Kind:
      return signed(to, int16(at));
    case int4Kind:
      return signed(to, int32(at));
    case int8Kind:
      return signed(to, int64(at));
    case numericKind:
      return isNumeric(at, end) ? numeric(to, at, isJson ? quoteMark : 0) : 0;
    case booleanKind:
      return boolean(to, load<u8>(at) != 0);
    default:
      return isJson
        ? put(plain(kind, put(to, quoteMark), at, end), quoteMark)
        : plain(kind, to, at, end);
  }
}

function boolean(to: usize, value: bool): usize {
  if (!isJson) return put(to, value ? 0x74 : 0x66);
  if (value) {
    store<u32>(to, 0x65757274);
    return to + 4;
  }
  store<u64>(to, 0x65736c6166);
  return to + 5;
}

/** What JSON wants in quotes and CSV does not. */
function plain(kind: i32, to: usize, at: usize, end: usize): usize {
  switch (kind) {
    case uuidKind:
      return uuid(to, at);
    case dateKind:
      return date(to, int32(at));
    case timestampKind:
      return timestamp(to, int64(at), isJson ? 0x54 : 0x20, 0, 0);
    case timestamptzKind:
      return isJson
        ? timestamp(to, int64(at), 0x54, zoneInJson, 6)
        : timestamp(to, int64(at), 0x20, zoneInText, 3);
    default:
      return hexBytes(beginHex(to), at, end);
  }
}

function beginHex(to: usize): usize {
  to = put(to, 0x5c);
  if (isJson) to = put(to, 0x5c);
  return put(to, 0x78);
}

/** Writes what stands before a value that comes in parts. */
export function openParts(kind: i32, to: usize): usize {
  if (isQuoted(kind)) to = put(to, isJson ? quoteMark : csvQuote);
  return kind == byteaKind ? beginHex(to) : to;
}

export function writePartOf(kind: i32, to: usize, at: usize, end: usize): usize {
  switch (kind) {
    case jsonStringKind:
      return escapeJson(to, at, end);
    case jsonLineKind:
      return onOneLine(to, at, end);
    case csvTextKind:
    case csvLoneTextKind:
      return doubleQuotes(to, at, end);
    case byteaKind:
      return hexBytes(to, at, end);
    default:
      return copy(to, at, end - at);
  }
}

export function closeParts(kind: i32, to: usize): usize {
  return isQuoted(kind) ? put(to, isJson ? quoteMark : csvQuote) : to;
}

function isQuoted(kind: i32): bool {
  return (
    kind == byteaKind || kind == jsonStringKind || kind == csvTextKind || kind == csvLoneTextKind
  );
}

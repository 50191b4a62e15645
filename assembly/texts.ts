/** Texts as JSON (RFC 8259 §7, as PostgreSQL's `escape_json` writes them) and as CSV (as COPY does). */
import { copy, meant, put } from "./memory";

const quoteMark: i32 = 0x22;
const backslash: i32 = 0x5c;
const space: i32 = 0x20;
const dash: i32 = 0x2d;
const newline: i32 = 0x0a;
const carriageReturn: i32 = 0x0d;

/** 1: `\u00xx`; otherwise the letter that follows the backslash. */
const letters = memory.data<u8>([
  1, 1, 1, 1, 1, 1, 1, 1, 0x62, 0x74, 0x6e, 1, 0x66, 0x72, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1,
  1, 1, 1, 1,
]);
const hexDigits = memory.data<u8>([
  0x30, 0x31, 0x32, 0x33, 0x34, 0x35, 0x36, 0x37, 0x38, 0x39, 0x61, 0x62, 0x63, 0x64, 0x65, 0x66,
]);

// The dialect of CSV: `describeCsv`.
let delimiter: i32 = 0x2c;
/** What stands around a field of CSV. */
export let csvQuote: i32 = quoteMark;
/** Every value that is not NULL stands in quotes. */
export let quotesAll: bool = false;
let nullText: usize = 0;
let nullBytes: usize = 0;

export function describeCsv(
  between: i32,
  around: i32,
  all: bool,
  nullAt: usize,
  nullLength: usize,
): void {
  delimiter = between;
  csvQuote = around;
  quotesAll = all;
  nullText = nullAt;
  nullBytes = nullLength;
}

export function escapeJson(to: usize, from: usize, end: usize): usize {
  while (from < end) {
    const bytes = v128.load(from);
    v128.store(to, bytes);
    const special = v128.or(
      i8x16.lt_u(bytes, i8x16.splat(<i8>space)),
      v128.or(
        i8x16.eq(bytes, i8x16.splat(<i8>quoteMark)),
        i8x16.eq(bytes, i8x16.splat(<i8>backslash)),
      ),
    );
    const bits = meant(i8x16.bitmask(special), end - from);
    if (bits == 0) {
      const taken = min<usize>(16, end - from);
      from += taken;
      to += taken;
    } else {
      const taken = <usize>ctz(bits);
      from += taken;
      to = escapeByte(to + taken, load<u8>(from));
      from += 1;
    }
  }
  return to;
}

function escapeByte(to: usize, byte: i32): usize {
  store<u8>(to, backslash);
  const letter: i32 = byte < space ? load<u8>(letters + byte) : byte;
  store<u8>(to + 1, letter);
  if (letter != 1) return to + 2;
  store<u32>(to + 1, 0x303075);
  to = put(to + 4, load<u8>(hexDigits + (byte >> 4)));
  return put(to, load<u8>(hexDigits + (byte & 15)));
}

export function quoteJson(to: usize, from: usize, end: usize): usize {
  return put(escapeJson(put(to, quoteMark), from, end), quoteMark);
}

/** A float's text: a number ends in a digit, NaN and the infinities in a letter. */
export function floatJson(to: usize, from: usize, end: usize): usize {
  return load<u8>(end - 1) <= 0x39 ? copy(to, from, end - from) : quoteJson(to, from, end);
}

/** JSON text; raw line breaks stand only between its tokens, where a space means the same. */
export function onOneLine(to: usize, from: usize, end: usize): usize {
  const start = from;
  for (; from < end; from += 16) {
    const bytes = v128.load(from);
    const breaks = v128.or(
      i8x16.eq(bytes, i8x16.splat(<i8>newline)),
      i8x16.eq(bytes, i8x16.splat(<i8>carriageReturn)),
    );
    v128.store(to + (from - start), v128.bitselect(i8x16.splat(<i8>space), bytes, breaks));
  }
  return to + (end - start);
}

/**
 * A field of CSV: in quotes when it would read as NULL, when it begins as a byte order mark does, or when a delimiter, quote
 * or line break is in it.
 */
export function csvField(to: usize, from: usize, end: usize): usize {
  if (quotesAll || isNullText(from, end) || isMarked(from, end)) return quoteCsv(to, from, end);
  const start = from;
  const delimiters = i8x16.splat(<i8>delimiter);
  const quotes = i8x16.splat(<i8>csvQuote);
  for (; from < end; from += 16) {
    const bytes = v128.load(from);
    v128.store(to + (from - start), bytes);
    const special = v128.or(
      v128.or(i8x16.eq(bytes, delimiters), i8x16.eq(bytes, quotes)),
      v128.or(
        i8x16.eq(bytes, i8x16.splat(<i8>newline)),
        i8x16.eq(bytes, i8x16.splat(<i8>carriageReturn)),
      ),
    );
    if (meant(i8x16.bitmask(special), end - from) != 0) return quoteCsv(to, start, end);
  }
  return to + (end - start);
}

/** Begins with U+FEFF. */
function isMarked(from: usize, end: usize): bool {
  return end - from >= 3 && load<u16>(from) == 0xbbef && load<u8>(from + 2) == 0xbf;
}

function isNullText(from: usize, end: usize): bool {
  if (end - from != nullBytes) return false;
  for (let i: usize = 0; i < nullBytes; i += 1) {
    if (load<u8>(from + i) != load<u8>(nullText + i)) return false;
  }
  return true;
}

export function quoteCsv(to: usize, from: usize, end: usize): usize {
  return put(doubleQuotes(put(to, csvQuote), from, end), csvQuote);
}

export function doubleQuotes(to: usize, from: usize, end: usize): usize {
  const marks = i8x16.splat(<i8>csvQuote);
  while (from < end) {
    const bytes = v128.load(from);
    v128.store(to, bytes);
    const quotes = i8x16.eq(bytes, marks);
    const bits = meant(i8x16.bitmask(quotes), end - from);
    const taken = bits == 0 ? min<usize>(16, end - from) : <usize>ctz(bits) + 1;
    from += taken;
    to += taken;
    if (bits != 0) to = put(to, csvQuote);
  }
  return to;
}

/** Alone on its line, `\.` would read as COPY's end of data. */
export function csvLoneField(to: usize, from: usize, end: usize): usize {
  const isEndOfData = end - from == 2 && load<u16>(from) == 0x2e5c;
  return isEndOfData ? quoteCsv(to, from, end) : csvField(to, from, end);
}

/** The hexadecimal digits of the first and of the last eight bytes of a vector. */
// prettier-ignore
const firstHalf = (high: v128, low: v128): v128 =>
  i8x16.shuffle(high, low, 0, 16, 1, 17, 2, 18, 3, 19, 4, 20, 5, 21, 6, 22, 7, 23);
// prettier-ignore
const lastHalf = (high: v128, low: v128): v128 =>
  i8x16.shuffle(high, low, 8, 24, 9, 25, 10, 26, 11, 27, 12, 28, 13, 29, 14, 30, 15, 31);

/** Two hexadecimal digits a byte. */
export function hexBytes(to: usize, from: usize, end: usize): usize {
  const start = from;
  const digits = v128.load(hexDigits);
  for (; from < end; from += 16) {
    const bytes = v128.load(from);
    const high = i8x16.swizzle(digits, i8x16.shr_u(bytes, 4));
    const low = i8x16.swizzle(digits, v128.and(bytes, i8x16.splat(15)));
    const at = to + ((from - start) << 1);
    v128.store(at, firstHalf(high, low));
    v128.store(at + 16, lastHalf(high, low));
  }
  return to + ((end - start) << 1);
}

/** Sixteen bytes as 8-4-4-4-12 hexadecimal digits. */
export function uuid(to: usize, from: usize): usize {
  const digits = v128.load(hexDigits);
  const bytes = v128.load(from);
  const high = i8x16.swizzle(digits, i8x16.shr_u(bytes, 4));
  const low = i8x16.swizzle(digits, v128.and(bytes, i8x16.splat(15)));
  const first = firstHalf(high, low);
  const last = lastHalf(high, low);
  v128.store64_lane(to, first, 0);
  store<u8>(to + 8, dash);
  v128.store32_lane(to + 9, first, 2);
  store<u8>(to + 13, dash);
  v128.store32_lane(to + 14, first, 3);
  store<u8>(to + 18, dash);
  v128.store32_lane(to + 19, last, 0);
  store<u8>(to + 23, dash);
  v128.store32_lane(to + 24, last, 1);
  v128.store64_lane(to + 28, last, 1);
  return to + 36;
}

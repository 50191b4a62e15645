/** Records as JSON objects, byte for byte what PostgreSQL's `row_to_json` makes of a row (`formats/json-text.ts`). */
import type { Column } from "../../nouns.ts";
import { timestampToJson } from "../../formats/json-text.ts";
import {
  append,
  ascii,
  carriageReturn,
  copy,
  newline,
  nothing,
  quoteMark,
  type RecordLayout,
  type ValueWriter,
  type Write,
} from "./record-writer.ts";

const jsonNull = ascii("null");
const jsonTrue = ascii("true");
const jsonFalse = ascii("false");
const quotes = ascii('"');
const hexDigits = ascii("0123456789abcdef");
const space = 0x20;
const backslash = 0x5c;

/** 0: as it is · 1: `\u00xx` · otherwise what follows the backslash. RFC 8259 §7, as PostgreSQL's `escape_json` does. */
const escapes = makeEscapes();

function makeEscapes(): Uint8Array {
  const table = new Uint8Array(256).fill(1, 0, space);
  table[0x08] = 0x62;
  table[0x0c] = 0x66;
  table[newline] = 0x6e;
  table[carriageReturn] = 0x72;
  table[0x09] = 0x74;
  table[quoteMark] = quoteMark;
  table[backslash] = backslash;
  return table;
}

/** Runs without anything to escape are the inner loop: one counter, a fixed distance between both sides. */
const escape: Write = (to, at, from, start, end) => {
  let next = at;
  for (let i = start; i < end;) {
    const shift = next - i;
    while (i < end && escapes[from[i]!] === 0) {
      to[i + shift] = from[i]!;
      i += 1;
    }
    next = i + shift;
    if (i < end) next = escapeByte(to, next, from[i++]!);
  }
  return next;
};

function escapeByte(to: Buffer, at: number, byte: number): number {
  const letter = escapes[byte]!;
  to[at] = backslash;
  if (letter > 1) {
    to[at + 1] = letter;
    return at + 2;
  }
  to[at + 1] = 0x75;
  to[at + 2] = 0x30;
  to[at + 3] = 0x30;
  to[at + 4] = hexDigits[byte >> 4]!;
  to[at + 5] = hexDigits[byte & 15]!;
  return at + 6;
}

const quote: Write = (to, at, from, start, end) => {
  to[at] = quoteMark;
  const next = escape(to, at + 1, from, start, end);
  to[next] = quoteMark;
  return next + 1;
};

/** PostgreSQL's numbers are JSON numbers, but for NaN and the infinities, which end in a letter. */
const number: Write = (to, at, from, start, end) =>
  isDigit(from[end - 1]!) ? copy(to, at, from, start, end) : quote(to, at, from, start, end);

const boolean: Write = (to, at, from, start) =>
  append(to, at, from[start] === 0x74 ? jsonTrue : jsonFalse);

/** JSON as stored; raw line breaks stand only between its tokens, where a space means the same. */
const oneLine: Write = (to, at, from, start, end) => {
  const shift = at - start;
  for (let i = start; i < end; i += 1) {
    const byte = from[i]!;
    to[i + shift] = byte === newline || byte === carriageReturn ? space : byte;
  }
  return end + shift;
};

const plainTimestampBytes = 19;
const finestTimestampBytes = 26;

/** `YYYY-MM-DD HH:MM:SS[.ffffff]`, with `+00` behind it where a zone is due; anything rarer takes the long way. */
function timestamp(zoned: boolean): Write {
  const zoneBytes = zoned ? 3 : 0;
  const tail = ascii(zoned ? ':00"' : '"');
  return (to, at, from, start, end) => {
    const bare = end - start - zoneBytes;
    const usual =
      bare >= plainTimestampBytes &&
      bare <= finestTimestampBytes &&
      from[start + 10] === space &&
      isDigit(from[end - zoneBytes - 1]!) &&
      (!zoned || isZone(from, end - zoneBytes));
    if (!usual) return append(to, at, ascii(timestampToJson(from.toString("latin1", start, end))));
    to[at] = quoteMark;
    const next = copy(to, at + 1, from, start, end);
    to[at + 11] = 0x54;
    return append(to, next, tail);
  };
}

const isDigit = (byte: number) => byte >= 0x30 && byte <= 0x39;
const isZone = (from: Buffer, at: number) =>
  (from[at] === 0x2b || from[at] === 0x2d) && isDigit(from[at + 1]!) && isDigit(from[at + 2]!);

type Values = Pick<ValueWriter, "whole" | "part" | "around">;

const text: Values = { whole: quote, part: escape, around: quotes };

const values: Record<Column["json"], Values> = {
  string: text,
  value: text,
  number: { whole: number, part: copy, around: nothing },
  json: { whole: oneLine, part: oneLine, around: nothing },
  boolean: { ...text, whole: boolean },
  timestamp: { ...text, whole: timestamp(false) },
  timestamptz: { ...text, whole: timestamp(true) },
};

/** Longer than any boolean, timestamp or infinity, whose forms show only in the whole. */
const wholeBytes = 256;
/** A control character becomes `\u00xx`. */
const growth = 6;

/** The server prints jsonb without any line break. */
const jsonb: Values = { whole: copy, part: copy, around: nothing };

function jsonRecords(columns: readonly Column[], after: string) {
  return {
    columns: columns.map(({ name, type, json }, index) => ({
      ...(type === "jsonb" ? jsonb : values[json]),
      before: ascii(`${index === 0 ? "{" : ","}${JSON.stringify(name)}:`),
      none: jsonNull,
    })),
    after: ascii(`${columns.length === 0 ? "{}" : "}"}${after}`),
    growth,
    wholeBytes,
  };
}

/** One object a line. */
export const ndjsonLayout = (columns: readonly Column[]): RecordLayout => ({
  ...jsonRecords(columns, "\n"),
  extension: "ndjson",
  header: nothing,
  between: nothing,
  footer: nothing,
});

/** One array, an object a line. */
export const jsonLayout = (columns: readonly Column[]): RecordLayout => ({
  ...jsonRecords(columns, ""),
  extension: "json",
  header: ascii("[\n"),
  between: ascii(",\n"),
  footer: ascii("\n]\n"),
});

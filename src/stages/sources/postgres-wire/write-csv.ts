/**
 * Records as `COPY … (FORMAT csv, HEADER)` prints them, byte for byte, with one exception: a value longer than
 * `csvScanBytes` stands in quotes even where COPY, which sees it whole, would find that it needs none. Every reader of
 * CSV takes both for the same. Source: https://www.postgresql.org/docs/current/sql-copy.html (CSV Format).
 */
import type { Column } from "../../nouns.ts";
import { csvScanBytes } from "../../formats/csv.ts";
import {
  append,
  ascii,
  carriageReturn,
  newline,
  nothing,
  quoteBytes,
  quoteMark,
  type RecordLayout,
  type Write,
} from "./record-writer.ts";

const quotes = ascii('"');
const comma = 0x2c;
/** A quote becomes two. */
const growth = 2;

const doubleQuotes: Write = (to, at, from, start, end) => {
  let next = at;
  for (let i = start; i < end;) {
    const shift = next - i;
    while (i < end && from[i] !== quoteMark) {
      to[i + shift] = from[i]!;
      i += 1;
    }
    next = i + shift;
    if (i === end) return next;
    to[next] = quoteMark;
    to[next + 1] = quoteMark;
    next += 2;
    i += 1;
  }
  return next;
};

/** 1 for what needs quotes around the value: a comma, quote or line break. */
const special = new Uint8Array(256);
for (const byte of [comma, quoteMark, newline, carriageReturn]) special[byte] = 1;

const value: Write = (to, at, from, start, end) => {
  if (start < end && end - start <= csvScanBytes) {
    const shift = at - start;
    let i = start;
    while (i < end && special[from[i]!] === 0) {
      to[i + shift] = from[i]!;
      i += 1;
    }
    if (i === end) return end + shift;
  }
  to[at] = quoteMark;
  const next = doubleQuotes(to, at + 1, from, start, end);
  to[next] = quoteMark;
  return next + 1;
};

const endOfData = ascii("\\.");

/** The value of a record of one: alone on its line, `\.` would read as COPY's end of data. */
const loneValue: Write = (to, at, from, start, end) => {
  const bare =
    end - start === 2 && from[start] === endOfData[0] && from[start + 1] === endOfData[1];
  return bare ? append(to, at, ascii('"\\."')) : value(to, at, from, start, end);
};

export function csvLayout(columns: readonly Column[]): RecordLayout {
  const whole = columns.length === 1 ? loneValue : value;
  return {
    extension: "csv",
    columns: columns.map((_column, index) => ({
      before: index === 0 ? nothing : ascii(","),
      none: nothing,
      whole,
      part: doubleQuotes,
      around: quotes,
    })),
    header: header(columns, whole),
    between: nothing,
    after: ascii("\n"),
    footer: nothing,
    growth,
    wholeBytes: csvScanBytes,
  };
}

function header(columns: readonly Column[], write: Write): Uint8Array {
  const names = columns.map(({ name }) => Buffer.from(name));
  const most = names.reduce((sum, name) => sum + name.length * growth + quoteBytes, 1);
  const line = Buffer.alloc(most);
  let at = 0;
  for (const [index, name] of names.entries()) {
    if (index > 0) line[at++] = comma;
    at = write(line, at, name, 0, name.length);
  }
  line[at++] = newline;
  return line.subarray(0, at);
}

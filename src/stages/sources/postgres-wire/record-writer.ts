/**
 * PostgreSQL's texts, as they lie in DataRow messages, written as records without a JavaScript object between.
 *
 * A value comes in one piece or in several; what it becomes is the same. Byte for byte what the row path makes of it.
 */
import type { Column } from "../../nouns.ts";
import { timestampToJson } from "../../formats/json-text.ts";

/** Record memory and how far it is filled. */
export interface Output {
  readonly bytes: Buffer;
  length: number;
}

/** Writes the values of one column. A piece of `n` bytes needs at most `6 n + 64` bytes of room. */
export interface ValueWriter {
  /** Written before each value of the column, with the separator before it. */
  readonly before: Uint8Array;
  /** Written for NULL. */
  readonly none: Uint8Array;
  /** A value that lies whole in `from[start, end)`. */
  whole(out: Output, from: Buffer, start: number, end: number): void;
  /** A value in parts: `begin`, any number of `part`s, `end`. */
  begin(out: Output, valueBytes: number): void;
  part(out: Output, from: Buffer, start: number, end: number): void;
  end(out: Output): void;
}

export interface RecordLayout {
  readonly extension: string;
  readonly columns: readonly ValueWriter[];
  /** Before the first record; between two records; after each; after the last. */
  readonly header: Uint8Array;
  readonly between: Uint8Array;
  readonly after: Uint8Array;
  readonly footer: Uint8Array;
}

const ascii = (text: string): Uint8Array => Buffer.from(text, "utf8");
const jsonNull = ascii("null");
const jsonTrue = ascii("true");
const jsonFalse = ascii("false");
const nothing = new Uint8Array(0);

const quoteMark = 0x22;
const newline = 0x0a;
const carriageReturn = 0x0d;
const space = 0x20;
const backslash = 0x5c;

export function append(out: Output, text: Uint8Array): void {
  const { bytes } = out;
  let { length } = out;
  for (let i = 0; i < text.length; i += 1) bytes[length++] = text[i]!;
  out.length = length;
}

/** Longer runs are copied at once. */
const copyBytes = 64;

function copy(out: Output, from: Buffer, start: number, end: number): void {
  if (end - start >= copyBytes) {
    out.length += from.copy(out.bytes, out.length, start, end);
    return;
  }
  const { bytes } = out;
  let { length } = out;
  for (let i = start; i < end; i += 1) bytes[length++] = from[i]!;
  out.length = length;
}

/** 0: as it is · 1: `\u00xx` · otherwise the letter after a backslash. RFC 8259 §7, as PostgreSQL's escape_json does. */
const escapes = makeEscapes();

function makeEscapes(): Uint8Array {
  const table = new Uint8Array(256).fill(1, 0, 0x20);
  table[0x08] = 0x62;
  table[0x0c] = 0x66;
  table[newline] = 0x6e;
  table[carriageReturn] = 0x72;
  table[0x09] = 0x74;
  table[quoteMark] = quoteMark;
  table[backslash] = backslash;
  return table;
}

const hexDigits = ascii("0123456789abcdef");

function escape(out: Output, from: Buffer, start: number, end: number): void {
  const { bytes } = out;
  let { length } = out;
  for (let i = start; i < end; i += 1) {
    const byte = from[i]!;
    const how = escapes[byte]!;
    if (how === 0) bytes[length++] = byte;
    else if (how === 1) {
      bytes[length] = backslash;
      bytes[length + 1] = 0x75;
      bytes[length + 2] = 0x30;
      bytes[length + 3] = 0x30;
      bytes[length + 4] = hexDigits[byte >> 4]!;
      bytes[length + 5] = hexDigits[byte & 15]!;
      length += 6;
    } else {
      bytes[length] = backslash;
      bytes[length + 1] = how;
      length += 2;
    }
  }
  out.length = length;
}

const mark = (out: Output) => {
  out.bytes[out.length++] = quoteMark;
};

type Values = Omit<ValueWriter, "before" | "none">;

const quoted: Values = {
  whole(out, from, start, end) {
    mark(out);
    escape(out, from, start, end);
    mark(out);
  },
  begin: mark,
  part: escape,
  end: mark,
};

/** JSON as stored; raw line breaks stand only between its tokens, where a space means the same. */
function oneLine(out: Output, from: Buffer, start: number, end: number): void {
  const { bytes } = out;
  let { length } = out;
  for (let i = start; i < end; i += 1) {
    const byte = from[i]!;
    bytes[length++] = byte === newline || byte === carriageReturn ? space : byte;
  }
  out.length = length;
}

const asStored: Values = { whole: oneLine, begin() {}, part: oneLine, end() {} };

/** Values that must be seen whole to be written; in parts they are gathered, for they are short. */
function gathered(whole: Values["whole"]): Values {
  let parts: Buffer[] = [];
  return {
    whole,
    begin() {
      parts = [];
    },
    part(_out, from, start, end) {
      parts.push(Buffer.from(from.subarray(start, end)));
    },
    end(out) {
      const all = Buffer.concat(parts);
      whole(out, all, 0, all.length);
    },
  };
}

/** PostgreSQL's numbers are JSON numbers, but for NaN and the infinities, which end in a letter. */
const numbers = gathered((out, from, start, end) => {
  const last = from[end - 1]!;
  if (last >= 0x30 && last <= 0x39) copy(out, from, start, end);
  else quoted.whole(out, from, start, end);
});

const booleans = gathered((out, from, start) =>
  append(out, from[start] === 0x74 ? jsonTrue : jsonFalse),
);

const timestamps = gathered((out, from, start, end) => {
  append(out, ascii(timestampToJson(from.toString("latin1", start, end))));
});

const plainTimestampBytes = 19;

/** `YYYY-MM-DD HH:MM:SS[.ffffff]`, with `+00` behind it where a zone is due; anything rarer takes the long way. */
function timestampWriter(zoned: boolean): Values {
  const zoneBytes = zoned ? 3 : 0;
  const zone = ascii(zoned ? ':00"' : '"');
  return {
    ...timestamps,
    whole(out, from, start, end) {
      const bare = end - start - zoneBytes;
      const usual =
        bare >= plainTimestampBytes &&
        bare <= 26 &&
        from[start + 10] === space &&
        isDigit(from[end - zoneBytes - 1]!) &&
        (!zoned || isZone(from, end - 3));
      if (!usual) return timestamps.whole(out, from, start, end);
      mark(out);
      copy(out, from, start, end);
      out.bytes[out.length - (end - start) + 10] = 0x54;
      append(out, zone);
    },
  };
}

const isDigit = (byte: number) => byte >= 0x30 && byte <= 0x39;
const isZone = (from: Buffer, at: number) =>
  (from[at] === 0x2b || from[at] === 0x2d) && isDigit(from[at + 1]!) && isDigit(from[at + 2]!);

const jsonValues: Record<Column["json"], () => Values> = {
  string: () => quoted,
  number: () => numbers,
  boolean: () => booleans,
  json: () => asStored,
  timestamp: () => timestampWriter(false),
  timestamptz: () => timestampWriter(true),
  value: () => quoted,
};

function jsonColumns(columns: readonly Column[]): ValueWriter[] {
  return columns.map((column, index) => ({
    ...jsonValues[column.json](),
    before: ascii(`${index === 0 ? "{" : ","}${JSON.stringify(column.name)}:`),
    none: jsonNull,
  }));
}

const jsonLayout = (columns: readonly Column[]) => ({
  columns: jsonColumns(columns),
  after: columns.length === 0 ? "{}" : "}",
});

/** Values longer than this are quoted without a look at what is in them. */
const csvScanBytes = 256 * 1024;

/** Quotes where `COPY … (FORMAT csv)` does: for a comma, quote or line break, and for the empty text. */
function csvValues(alone: boolean): Values {
  const needsQuotes = (from: Buffer, start: number, end: number): boolean => {
    if (start === end) return true;
    for (let i = start; i < end; i += 1) {
      const byte = from[i]!;
      if (byte === quoteMark || byte === 0x2c || byte === newline || byte === carriageReturn)
        return true;
    }
    return alone && end - start === 2 && from[start] === backslash && from[start + 1] === 0x2e;
  };
  const doubled = (out: Output, from: Buffer, start: number, end: number) => {
    const { bytes } = out;
    let { length } = out;
    for (let i = start; i < end; i += 1) {
      const byte = from[i]!;
      bytes[length++] = byte;
      if (byte === quoteMark) bytes[length++] = quoteMark;
    }
    out.length = length;
  };
  const whole = (out: Output, from: Buffer, start: number, end: number) => {
    if (!needsQuotes(from, start, end)) return copy(out, from, start, end);
    mark(out);
    doubled(out, from, start, end);
    mark(out);
  };
  const short = gathered(whole);
  let long = false;
  return {
    whole,
    begin(out, valueBytes) {
      long = valueBytes > csvScanBytes;
      if (long) mark(out);
      else short.begin(out, valueBytes);
    },
    part: (out, from, start, end) => (long ? doubled : short.part)(out, from, start, end),
    end: (out) => (long ? mark : short.end)(out),
  };
}

function csvHeader(columns: readonly Column[]): Uint8Array {
  const out: Output = {
    bytes: Buffer.alloc(
      columns.reduce((sum, { name }) => sum + 2 * Buffer.byteLength(name) + 3, 1),
    ),
    length: 0,
  };
  const names = csvValues(columns.length === 1);
  for (const [index, { name }] of columns.entries()) {
    if (index > 0) append(out, ascii(","));
    const text = Buffer.from(name);
    names.whole(out, text, 0, text.length);
  }
  append(out, ascii("\n"));
  return out.bytes.subarray(0, out.length);
}

/** How each format lays out records of these columns. */
export const recordLayouts: Readonly<Record<string, (columns: readonly Column[]) => RecordLayout>> =
  {
    ndjson: (columns) => {
      const { columns: writers, after } = jsonLayout(columns);
      return {
        extension: "ndjson",
        columns: writers,
        header: nothing,
        between: nothing,
        after: ascii(`${after}\n`),
        footer: nothing,
      };
    },
    json: (columns) => {
      const { columns: writers, after } = jsonLayout(columns);
      return {
        extension: "json",
        columns: writers,
        header: ascii("[\n"),
        between: ascii(",\n"),
        after: ascii(after),
        footer: ascii("\n]\n"),
      };
    },
    csv: (columns) => ({
      extension: "csv",
      columns: columns.map((_column, index) => ({
        ...csvValues(columns.length === 1),
        before: index === 0 ? nothing : ascii(","),
        none: nothing,
      })),
      header: csvHeader(columns),
      between: nothing,
      after: ascii("\n"),
      footer: nothing,
    }),
  };

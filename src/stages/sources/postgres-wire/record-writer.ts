/**
 * What a record is made of: functions that write PostgreSQL's texts, as they lie in DataRow messages, without a
 * JavaScript object between. They keep nothing, so a value may be written whole or in parts; the bytes are the same.
 */

/** Writes `from[start, end)` to `to` from `at` on, where there is room; gives where it ended. */
export type Write = (to: Buffer, at: number, from: Buffer, start: number, end: number) => number;

/** Writes the values of one column. */
export interface ValueWriter {
  /** Written before each value of the column, with the separator before it. */
  readonly before: Uint8Array;
  /** Written for NULL. */
  readonly none: Uint8Array;
  /** A whole value: `growth` times its bytes at most, and `quoteBytes`. */
  readonly whole: Write;
  /** A part of a value longer than `wholeBytes`: `growth` times its bytes at most. */
  readonly part: Write;
  /** Written before and after such a value. */
  readonly around: Uint8Array;
}

/** What a value may need beside its own bytes: quotes, `:00` behind a zone. */
export const quoteBytes = 8;

export interface RecordLayout {
  readonly extension: string;
  readonly columns: readonly ValueWriter[];
  /** Before the first record; between two records; after each; after the last. */
  readonly header: Uint8Array;
  readonly between: Uint8Array;
  readonly after: Uint8Array;
  readonly footer: Uint8Array;
  /** How many bytes one byte of a value may become. */
  readonly growth: number;
  /** Values up to so many bytes are never written in parts. */
  readonly wholeBytes: number;
}

export const ascii = (text: string): Uint8Array => Buffer.from(text, "utf8");
export const nothing = new Uint8Array(0);

export const quoteMark = 0x22;
export const newline = 0x0a;
export const carriageReturn = 0x0d;

/** Longer runs are copied at once. */
const copyBytes = 64;

export const copy: Write = (to, at, from, start, end) => {
  if (end - start >= copyBytes) return at + from.copy(to, at, start, end);
  const shift = at - start;
  for (let i = start; i < end; i += 1) to[i + shift] = from[i]!;
  return end + shift;
};

export function append(to: Buffer, at: number, text: Uint8Array): number {
  for (let i = 0; i < text.length; i += 1) to[at + i] = text[i]!;
  return at + text.length;
}

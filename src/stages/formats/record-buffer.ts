/**
 * Records back to back in memory that is used again for every batch.
 *
 * Texts go straight to their bytes: a string made for each cell, and again for each record, would be ten times the
 * garbage, and while a batch is alive every collection copies it (bench/rows).
 */
import { freeBuffer } from "../free-buffer.ts";

/**
 * What becomes of ASCII characters on the way, at their codes: 0 copies one, `stop` leaves the whole text to another
 * writer, anything else is the two bytes that stand for it.
 */
export type Marks = Uint16Array;
const stop = 1;

/** Marks that stop at the characters of `stops` and write those of `pairs` as two. */
export function createMarks(stops: string, pairs: Readonly<Record<string, string>> = {}): Marks {
  const marks = new Uint16Array(128);
  for (const character of stops) marks[character.charCodeAt(0)] = stop;
  for (const [character, pair] of Object.entries(pairs)) {
    marks[character.charCodeAt(0)] = (pair.charCodeAt(0) << 8) | pair.charCodeAt(1);
  }
  return marks;
}

export interface RecordBuffer {
  /** Appends text as UTF-8. */
  text(text: string): void;
  /**
   * Appends a usual text as UTF-8, between two quotes if their code is given; false, and nothing appended, for a long one
   * or a stop.
   */
  usual(text: string, marks: Marks, quote?: number): boolean;
  /** Appends the part of a text from `start` to `end`, which is ASCII. */
  part(text: string, start: number, end: number): void;
  /** Appends bytes that are UTF-8 already. */
  bytes(bytes: Uint8Array): void;
  /** Ends the record here. */
  end(): void;
  /** Bytes so far. */
  readonly length: number;
  /** The bytes so far and where records end in them; valid until `reset`. */
  view(): { bytes: Uint8Array; ends: Uint32Array };
  reset(): void;
}

const initialBytes = 256 * 1024;
/** A buffer grown beyond this by a wide batch is given up again when the next batch is small. */
const keptBytes = 4 * 1024 * 1024;
/** UTF-16 units; room for longer texts is what they take, not what they might. */
const measuredUnits = 64 * 1024;
/** UTF-16 units; of longer texts Node's own encoder is faster. */
const usualUnits = 256;

export function createRecordBuffer(): RecordBuffer {
  let memory = Buffer.allocUnsafeSlow(initialBytes);
  let ends = new Uint32Array(1024);
  let length = 0;
  let count = 0;

  const makeRoom = (bytes: number) => {
    if (length + bytes <= memory.length) return;
    const larger = Buffer.allocUnsafeSlow(Math.max(memory.length * 2, length + bytes));
    memory.copy(larger, 0, 0, length);
    freeBuffer(memory);
    memory = larger;
  };

  return {
    text(text) {
      // UTF-8 needs at most three bytes for a UTF-16 unit; a long text is measured, not guessed.
      makeRoom(text.length < measuredUnits ? text.length * 3 : Buffer.byteLength(text));
      length += memory.write(text, length, "utf8");
    },
    usual(text, marks, quote) {
      if (text.length > usualUnits) return false;
      makeRoom(text.length * 3 + 2);
      const end = encode(text, marks, memory, quote ? length + 1 : length);
      if (end < 0) return false;
      if (quote) memory[length] = memory[end] = quote;
      length = quote ? end + 1 : end;
      return true;
    },
    part(text, start, end) {
      makeRoom(end - start);
      const [to, shift] = [memory, length - start];
      for (let i = start; i < end; i += 1) to[shift + i] = text.charCodeAt(i);
      length = shift + end;
    },
    bytes(bytes) {
      makeRoom(bytes.length);
      const [to, start] = [memory, length];
      // Names are short: a loop beats a call to `set`.
      for (let i = 0; i < bytes.length; i += 1) to[start + i] = bytes[i]!;
      length = start + bytes.length;
    },
    end() {
      if (count === ends.length) {
        const more = new Uint32Array(ends.length * 2);
        more.set(ends);
        ends = more;
      }
      ends[count] = length;
      count += 1;
    },
    get length() {
      return length;
    },
    view: () => ({
      // No Buffer: its `slice` would not copy, and copying is how a batch is kept.
      bytes: new Uint8Array(memory.buffer, memory.byteOffset, length),
      ends: ends.subarray(0, count),
    }),
    reset() {
      if (memory.length > keptBytes && length < keptBytes / 4) {
        freeBuffer(memory);
        memory = Buffer.allocUnsafeSlow(initialBytes);
      }
      length = 0;
      count = 0;
    },
  };
}

/** Writes `text` as UTF-8 from `at` on; gives where it ends, or -1 at a stop and at a surrogate. */
function encode(text: string, marks: Marks, to: Uint8Array, at: number): number {
  for (let i = 0; i < text.length; i += 1) {
    const code = text.charCodeAt(i);
    if (code < 0x80) {
      const mark = marks[code]!;
      if (mark === 0) to[at++] = code;
      else if (mark === stop) return -1;
      else {
        to[at++] = mark >> 8;
        to[at++] = mark & 0xff;
      }
    } else if (code < 0x800) {
      to[at++] = 0xc0 | (code >> 6);
      to[at++] = 0x80 | (code & 0x3f);
    } else if (code < 0xd800 || code > 0xdfff) {
      to[at++] = 0xe0 | (code >> 12);
      to[at++] = 0x80 | ((code >> 6) & 0x3f);
      to[at++] = 0x80 | (code & 0x3f);
    } else return -1;
  }
  return at;
}

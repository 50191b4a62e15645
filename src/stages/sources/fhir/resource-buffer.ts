/** Resources back to back, as their server wrote them, in memory that is used again for every batch. */

const initialBytes = 128 * 1024;
/** Grown beyond this by one large resource, the memory is given up again when the next ones are small. */
const keptBytes = 4 * 1024 * 1024;
const lineFeed = 0x0a;
const space = 0x20;
const byteOrderMark = Buffer.from("\ufeff");

export interface ResourceBuffer {
  /** Bytes of whole resources, then of the one that is under way. */
  readonly length: number;
  /** Bytes of the resource that is under way. */
  readonly begun: number;
  append(bytes: Uint8Array, start: number, end: number): void;
  /** The bytes of the resource under way; valid until the next call. */
  view(): Uint8Array;
  /** Takes a byte order mark off the start of the resource under way. */
  unmark(): void;
  /** Takes white space off the end of the resource under way. */
  trim(): void;
  /** Ends the resource under way with a line feed. */
  keep(): void;
  /** Forgets the resource under way. */
  drop(): void;
  /** The whole resources, valid until `reset`. */
  whole(): { readonly bytes: Uint8Array; readonly ends: Uint32Array };
  /** Forgets the whole resources; the one under way stays. */
  reset(): void;
}

export function createResourceBuffer(): ResourceBuffer {
  let memory = Buffer.allocUnsafeSlow(initialBytes);
  let ends = new Uint32Array(512);
  let count = 0;
  let length = 0;
  const start = () => (count === 0 ? 0 : ends[count - 1]!);

  const begun = () => new Uint8Array(memory.buffer, memory.byteOffset + start(), length - start());

  const makeRoom = (bytes: number) => {
    if (length + bytes <= memory.length) return;
    const larger = Buffer.allocUnsafeSlow(Math.max(memory.length * 2, length + bytes));
    memory.copy(larger, 0, 0, length);
    memory = larger;
  };

  return {
    get length() {
      return length;
    },
    get begun() {
      return length - start();
    },
    append(bytes, from, to) {
      makeRoom(to - from);
      // Views of plain arrays cost a third of a Buffer's.
      memory.set(new Uint8Array(bytes.buffer, bytes.byteOffset + from, to - from), length);
      length += to - from;
    },
    view: begun,
    unmark() {
      if (!byteOrderMark.equals(begun().subarray(0, byteOrderMark.length))) return;
      memory.copyWithin(start(), start() + byteOrderMark.length, length);
      length -= byteOrderMark.length;
    },
    trim() {
      while (length > start() && memory[length - 1]! <= space) length -= 1;
    },
    keep() {
      makeRoom(1);
      memory[length++] = lineFeed;
      if (count === ends.length) {
        const more = new Uint32Array(count * 2);
        more.set(ends);
        ends = more;
      }
      ends[count++] = length;
    },
    drop() {
      length = start();
    },
    // No Buffer: its `slice` would not copy, and copying is how a batch is kept.
    whole: () => ({
      bytes: new Uint8Array(memory.buffer, memory.byteOffset, start()),
      ends: ends.subarray(0, count),
    }),
    reset() {
      const rest = memory.subarray(start(), length);
      if (memory.length > keptBytes && rest.length < keptBytes / 4)
        memory = Buffer.allocUnsafeSlow(initialBytes);
      rest.copy(memory, 0);
      length = rest.length;
      count = 0;
    },
  };
}

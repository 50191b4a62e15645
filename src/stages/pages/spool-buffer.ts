/**
 * The memory of the spool's buffer: one piece, lent out and taken back in turn. Pages of any size lie in it one behind
 * the other, so that those that wait for the disk make no garbage, and their own memory goes home at once.
 */
import { assert } from "../../errors.ts";

export interface SpoolBuffer {
  readonly sizeBytes: number;
  /** Room for so many bytes in one piece; undefined while there is none. More than the buffer has is lent alone. */
  take(bytes: number): Uint8Array | undefined;
  /** Takes back what was lent first. */
  giveOldest(): void;
  /** The next time something is taken back. */
  readonly given: Promise<void>;
}

interface Lent {
  readonly start: number;
  readonly end: number;
}

/** The memory is made when it is first needed: a run that only uploads never does. */
export function createSpoolBuffer(sizeBytes: number): SpoolBuffer {
  let memory: Uint8Array | undefined;
  const lent: Lent[] = [];
  let given = Promise.withResolvers<void>();

  const findRoom = (bytes: number): number | undefined => {
    const [oldest, newest] = [lent[0], lent.at(-1)];
    if (!oldest || !newest) return 0;
    const wrapped = newest.start < oldest.start;
    const end = wrapped ? oldest.start : sizeBytes;
    if (end - newest.end >= bytes) return newest.end;
    return !wrapped && oldest.start >= bytes ? 0 : undefined;
  };

  return {
    sizeBytes,
    take(bytes) {
      assert(bytes > 0, "a page has bytes");
      if (bytes > sizeBytes) {
        if (lent.length > 0) return undefined;
        lent.push({ start: 0, end: sizeBytes });
        return Buffer.allocUnsafeSlow(bytes);
      }
      const start = findRoom(bytes);
      if (start === undefined) return undefined;
      lent.push({ start, end: start + bytes });
      memory ??= Buffer.allocUnsafeSlow(sizeBytes);
      return memory.subarray(start, start + bytes);
    },
    giveOldest() {
      assert(lent.shift(), "what is given back was lent");
      given.resolve();
      given = Promise.withResolvers();
    },
    get given() {
      return given.promise;
    },
  };
}

/** Memory that pages are read into for their upload: bounded in bytes, used again, so that no page makes garbage. */
import { freeBuffer } from "../free-buffer.ts";
import { untilAborted } from "../until-aborted.ts";

export interface UploadMemory {
  /** At least `bytes`, as soon as they fit under `mostBytes` with all there is; alone they always do. */
  take(bytes: number, mostBytes: number, signal: AbortSignal): Promise<Uint8Array>;
  /** Given back by whoever is sure that nobody sends from it any more. */
  give(memory: Uint8Array): void;
}

/** Pages differ little in size: memory that is a little larger serves those to come. */
const roundBytes = 16 * 1024;

export function createUploadMemory(): UploadMemory {
  const free: Uint8Array[] = [];
  let madeBytes = 0;
  let given = Promise.withResolvers<void>();

  const tryTake = (bytes: number, mostBytes: number): Uint8Array | undefined => {
    const fits = free.findIndex(({ length }) => length >= bytes);
    if (fits >= 0) return free.splice(fits, 1)[0];
    const size = Math.ceil(bytes / roundBytes) * roundBytes;
    while (free.length > 0 && madeBytes + size > mostBytes) madeBytes -= drop(free.pop()!);
    if (madeBytes > 0 && madeBytes + size > mostBytes) return undefined;
    madeBytes += size;
    return new Uint8Array(size);
  };

  return {
    async take(bytes, mostBytes, signal) {
      for (;;) {
        const memory = tryTake(bytes, mostBytes);
        if (memory) return memory;
        await untilAborted(given.promise, signal);
      }
    },
    give(memory) {
      free.push(memory);
      given.resolve();
      given = Promise.withResolvers();
    },
  };
}

function drop(memory: Uint8Array): number {
  const { length } = memory;
  freeBuffer(memory);
  return length;
}

/**
 * The lease: page memory as one weighted, first-come-first-served semaphore over bytes, with a free list.
 *
 * A buffer knows how to go home (`release`), so its holder need not know who lent it. Memory is shared
 * (`SharedArrayBuffer`): a worker reads a page where it lies, and the page is not lost if that worker dies.
 */
import { PipelineError, assert } from "../errors.ts";
import { atEase, type Pressure } from "./pressure.ts";

/** Borrowed page memory. */
export interface Leased {
  readonly bytes: Uint8Array<SharedArrayBuffer>;
  /** Bytes counted against the lease: `bytes` and what will be made from it. */
  readonly weight: number;
  release(): void;
}

export interface Lease {
  readonly capacityBytes: number;
  readonly inUseBytes: number;
  readonly peakBytes: number;
  /** Requests that wait for room. */
  readonly waiting: number;
  /** Under pressure only a share of the capacity is lent, down to two pages: one that fills while one is sealed. */
  readonly pressure: Pressure;
  /**
   * Waits for `weight` bytes of room and lends a buffer of `size` bytes.
   * @throws PipelineError `budget-too-small` when `weight` can never fit; the signal's reason when it fires.
   */
  take(size: number, weight: number, signal: AbortSignal): Promise<Leased>;
}

interface Waiter {
  readonly weight: number;
  readonly grant: () => void;
}

const leastPages = 2;

/** Makes a lease of `capacityBytes`; free buffers are kept for the next `take` of the same size. */
export function createLease(capacityBytes: number, pressure: Pressure = atEase): Lease {
  const free = createFreeList();
  const queue: Waiter[] = [];
  let inUseBytes = 0;
  let peakBytes = 0;

  const admit = (weight: number) => {
    inUseBytes += weight;
    peakBytes = Math.max(peakBytes, inUseBytes);
  };

  const fits = (weight: number): boolean => {
    const least = Math.min(leastPages * weight, capacityBytes);
    return inUseBytes + weight <= Math.max(least, capacityBytes * pressure.share);
  };

  const serveQueue = () => {
    for (let next = queue[0]; next && fits(next.weight); next = queue[0]) {
      queue.shift();
      admit(next.weight);
      next.grant();
    }
  };

  const leave = (weight: number) => {
    inUseBytes -= weight;
    serveQueue();
  };

  const lend = (size: number, weight: number): Leased => {
    const memory = free.take(size);
    let home = false;
    return {
      bytes: new Uint8Array(memory),
      weight,
      release() {
        assert(!home, "page memory is released once");
        home = true;
        free.put(memory);
        leave(weight);
      },
    };
  };

  return {
    capacityBytes,
    pressure,
    get inUseBytes() {
      return inUseBytes;
    },
    get peakBytes() {
      return peakBytes;
    },
    get waiting() {
      return queue.length;
    },
    async take(size, weight, signal) {
      signal.throwIfAborted();
      if (weight > capacityBytes) {
        throw new PipelineError(
          "budget-too-small",
          `a page needs ${weight} bytes but the lease has ${capacityBytes}; raise \`memory\` or lower \`chunk.size\``,
        );
      }
      if (queue.length === 0 && fits(weight)) admit(weight);
      else await waitForRoom(queue, weight, signal, serveQueue);
      try {
        return lend(size, weight);
      } catch (error) {
        leave(weight);
        throw error;
      }
    },
  };
}

/** Buffers that came home, by their size. */
function createFreeList() {
  const bySize = new Map<number, SharedArrayBuffer[]>();
  return {
    take: (size: number) => bySize.get(size)?.pop() ?? new SharedArrayBuffer(size),
    put(memory: SharedArrayBuffer) {
      const list = bySize.get(memory.byteLength) ?? [];
      list.push(memory);
      bySize.set(memory.byteLength, list);
    },
  };
}

function waitForRoom(
  queue: Waiter[],
  weight: number,
  signal: AbortSignal,
  serveQueue: () => void,
): Promise<void> {
  return new Promise((resolve, reject) => {
    const give = () => {
      signal.removeEventListener("abort", leave);
      resolve();
    };
    const waiter: Waiter = { weight, grant: give };
    const leave = () => {
      queue.splice(queue.indexOf(waiter), 1);
      reject(signal.reason as Error);
      serveQueue();
    };
    signal.addEventListener("abort", leave, { once: true });
    queue.push(waiter);
  });
}

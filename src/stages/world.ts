/**
 * What the world can do to a run: its disk, its clock, its chance. The durable code reaches them through here alone, so
 * that a proof can put a disk that loses power in their place (`prove/crashfs/disk.ts`).
 */
import { randomBytes } from "node:crypto";
import { realDisk, type Disk } from "./disk.ts";

export type { Disk, DiskFile, Entry, Found } from "./disk.ts";

/** Nothing durable is decided by it: it ends waits, and dates what people read. */
export interface Clock {
  /** Milliseconds that never go back. */
  now(): number;
  date(): Date;
  /** Calls back once, later; gives what calls it off. */
  after(millis: number, work: () => void): () => void;
}

export interface World {
  readonly disk: Disk;
  readonly clock: Clock;
  randomBytes(bytes: number): Buffer;
}

export const realWorld: World = {
  disk: realDisk,
  clock: {
    now: () => performance.now(),
    date: () => new Date(),
    after(millis, work) {
      const timer = setTimeout(work, millis);
      return () => clearTimeout(timer);
    },
  },
  randomBytes,
};

export { realDisk };
export const realClock = realWorld.clock;

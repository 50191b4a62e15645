/**
 * What the world can do to a run: its disk, its clock, its chance. The durable code reaches them through here alone, so
 * that a proof can put a disk that loses power in their place (`prove/crashfs/disk.ts`).
 */
import { randomBytes } from "node:crypto";
import * as files from "node:fs/promises";

/** An open file or folder; a call may take or give fewer bytes than asked. */
export interface DiskFile {
  read(
    into: Uint8Array,
    offset: number,
    length: number,
    position: number,
  ): Promise<{ readonly bytesRead: number }>;
  /** At `position`, or where the file stands. */
  write(
    bytes: Uint8Array,
    offset: number,
    length: number,
    position: number | null,
  ): Promise<{ readonly bytesWritten: number }>;
  truncate(bytes: number): Promise<void>;
  stat(): Promise<Found>;
  sync(): Promise<void>;
  datasync(): Promise<void>;
  close(): Promise<void>;
}

export interface Kind {
  isFile(): boolean;
  isDirectory(): boolean;
  isSymbolicLink(): boolean;
}

/** What lies at a path. */
export interface Found extends Kind {
  readonly size: number;
  readonly mode: number;
  /** Which file it is, whatever its names are. */
  readonly dev: number;
  readonly ino: number;
}

/** What lies in a folder. */
export interface Entry extends Kind {
  readonly name: string;
}

/** Calls of `node:fs/promises`, as far as the durable code needs them; errors are system errors with a `code`. */
export interface Disk {
  open(path: string, flags: number, mode?: number): Promise<DiskFile>;
  readFile(path: string): Promise<Buffer>;
  opendir(path: string): Promise<AsyncIterable<Entry>>;
  lstat(path: string): Promise<Found>;
  mkdir(path: string, options: { readonly mode: number }): Promise<unknown>;
  link(from: string, to: string): Promise<void>;
  rename(from: string, to: string): Promise<void>;
  unlink(path: string): Promise<void>;
  rm(path: string, options: { readonly recursive?: boolean; readonly force: true }): Promise<void>;
}

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
  disk: files,
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

export const realDisk = realWorld.disk;
export const realClock = realWorld.clock;

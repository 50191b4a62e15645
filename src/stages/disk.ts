/**
 * A disk, as far as the durable code needs one, and that of this machine. What a page asks of it goes through Node's
 * callbacks: of twenty calls a page, the promises of `node:fs/promises` and their file handles took a sixth.
 */
import * as fs from "node:fs";
import { mkdir, opendir, readFile, rm } from "node:fs/promises";

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

/** Calls named as in `node:fs/promises`; errors are system errors with a `code`. */
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

type Done = (error: Error | null) => void;

const done = (call: (done: Done) => void): Promise<void> =>
  new Promise((resolve, reject) => {
    call((error) => (error ? reject(error) : resolve()));
  });

export const realDisk: Disk = {
  mkdir,
  opendir,
  readFile,
  rm,
  open: (path, flags, mode) =>
    new Promise((resolve, reject) => {
      fs.open(path, flags, mode, (error, descriptor) =>
        error ? reject(error) : resolve(new OpenFile(descriptor)),
      );
    }),
  lstat: (path) =>
    new Promise<Found>((resolve, reject) => {
      fs.lstat(path, (error, found) => (error ? reject(error) : resolve(found)));
    }),
  link: (from, to) => done((done) => fs.link(from, to, done)),
  rename: (from, to) => done((done) => fs.rename(from, to, done)),
  unlink: (path) => done((done) => fs.unlink(path, done)),
};

/** Whoever opened it closes it: no collector does. */
class OpenFile implements DiskFile {
  #descriptor: number;

  constructor(descriptor: number) {
    this.#descriptor = descriptor;
  }

  read(into: Uint8Array, offset: number, length: number, position: number) {
    return new Promise<{ readonly bytesRead: number }>((resolve, reject) => {
      fs.read(this.#descriptor, into, offset, length, position, (error, bytesRead) =>
        error ? reject(error) : resolve({ bytesRead }),
      );
    });
  }

  write(bytes: Uint8Array, offset: number, length: number, position: number | null) {
    return new Promise<{ readonly bytesWritten: number }>((resolve, reject) => {
      fs.write(this.#descriptor, bytes, offset, length, position, (error, bytesWritten) =>
        error ? reject(error) : resolve({ bytesWritten }),
      );
    });
  }

  stat(): Promise<Found> {
    return new Promise((resolve, reject) => {
      fs.fstat(this.#descriptor, (error, found) => (error ? reject(error) : resolve(found)));
    });
  }

  truncate(bytes: number): Promise<void> {
    return done((done) => fs.ftruncate(this.#descriptor, bytes, done));
  }

  sync(): Promise<void> {
    return done((done) => fs.fsync(this.#descriptor, done));
  }

  datasync(): Promise<void> {
    return done((done) => fs.fdatasync(this.#descriptor, done));
  }

  /** The number may be another file's at once: it is forgotten first, so that nothing more is done to it. */
  close(): Promise<void> {
    const descriptor = this.#descriptor;
    this.#descriptor = -1;
    return done((done) => fs.close(descriptor, done));
  }
}

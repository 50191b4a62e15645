/**
 * A disk, as far as the durable code needs one, and that of this machine. What a page asks of it goes through Node's
 * callbacks: of twenty calls a page, the promises of `node:fs/promises` and their file handles took a sixth.
 */
import * as fs from "node:fs";
import { mkdir, opendir, readFile, rm, rmdir } from "node:fs/promises";

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
  /** Fails for one in which anything lies. */
  rmdir(path: string): Promise<void>;
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
  rmdir,
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

type Answer<Value> = (error: Error | null, value: Value) => void;

/**
 * Whoever opened it closes it: no collector does. Closing waits for the calls under way: a write that hangs may still reach
 * the file, and whoever closed it would tell another that it is free.
 */
class OpenFile implements DiskFile {
  #descriptor: number;
  #underWay = 0;
  #onIdle: (() => void) | undefined;
  #closing: Promise<void> | undefined;

  constructor(descriptor: number) {
    this.#descriptor = descriptor;
  }

  read(into: Uint8Array, offset: number, length: number, position: number) {
    return this.#ask(
      (descriptor, answer: Answer<number>) =>
        fs.read(descriptor, into, offset, length, position, answer),
      (bytesRead) => ({ bytesRead }),
    );
  }

  write(bytes: Uint8Array, offset: number, length: number, position: number | null) {
    return this.#ask(
      (descriptor, answer: Answer<number>) =>
        fs.write(descriptor, bytes, offset, length, position, answer),
      (bytesWritten) => ({ bytesWritten }),
    );
  }

  stat(): Promise<Found> {
    return this.#ask(
      (descriptor, answer: Answer<Found>) => fs.fstat(descriptor, answer),
      (found) => found,
    );
  }

  truncate(bytes: number): Promise<void> {
    return this.#tell((descriptor, done) => fs.ftruncate(descriptor, bytes, done));
  }

  sync(): Promise<void> {
    return this.#tell(fs.fsync);
  }

  datasync(): Promise<void> {
    return this.#tell(fs.fdatasync);
  }

  close(): Promise<void> {
    return (this.#closing ??= this.#close());
  }

  /** The number may be another file's at once: it is forgotten first, so that nothing more is done to it. */
  async #close(): Promise<void> {
    const descriptor = this.#descriptor;
    this.#descriptor = -1;
    if (this.#underWay > 0) await new Promise<void>((resolve) => (this.#onIdle = resolve));
    await done((done) => fs.close(descriptor, done));
  }

  #ask<Value, Result>(
    call: (descriptor: number, answer: Answer<Value>) => void,
    toResult: (value: Value) => Result,
  ): Promise<Result> {
    return new Promise((resolve, reject) => {
      call(this.#descriptor, (error, value) => {
        this.#end();
        if (error) reject(error);
        else resolve(toResult(value));
      });
      this.#underWay += 1;
    });
  }

  #tell(call: (descriptor: number, done: Done) => void): Promise<void> {
    return this.#ask<void, void>(call, () => undefined);
  }

  #end(): void {
    this.#underWay -= 1;
    if (this.#underWay === 0) this.#onIdle?.();
  }
}

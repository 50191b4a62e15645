/**
 * The files of one folder that take the records of one value each. Parts of records are taken by where they lie in a page, and
 * written with all others of that page; those whose value is not known yet wait in a file of their own.
 */
import { constants } from "node:fs";
import { open, unlink, type FileHandle } from "node:fs/promises";
import { join } from "node:path";
import { PipelineError } from "../errors.ts";
import { readPieces } from "../stages/destinations/file-work.ts";
import { writeAll } from "../stages/durable-file.ts";
import { freeBuffer, takeMemory } from "../workers/free.ts";
import type { MemberText } from "./member-scanner.ts";

/** One file, with the records of one value. */
export interface RestoredFile {
  readonly file: string;
  /** Null for the records without one. */
  readonly value: string | null;
  readonly records: number;
  readonly bytes: number;
}

interface ValueFile {
  readonly name: string;
  readonly value: MemberText;
  handle: FileHandle | undefined;
  records: number;
  /** Written so far. */
  bytes: number;
  /** Of the page under way: where each part begins and ends. */
  parts: number[];
  partBytes: number;
}

/** A part of a record in the page under way, the last one if the record ends there. */
export interface Part {
  readonly start: number;
  readonly end: number;
  /** The record's number, from 1. */
  readonly record: number;
  readonly ends: boolean;
}

/** All of them are open until the end. */
const mostFiles = 512;
const safe = /^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$/;
/** To Windows these are devices, whatever follows the dot. */
const device = /^(?:con|prn|aux|nul|com\d|lpt\d)(?:\.|$)/i;
/** For records without a value: begins as none may. */
const nameWithout = "_missing";

const newFile = (name: string, value: MemberText): ValueFile => ({
  name,
  value,
  handle: undefined,
  records: 0,
  bytes: 0,
  parts: [],
  partBytes: 0,
});

export class ValueFiles {
  readonly #folder: string;
  readonly #member: string;
  readonly #files = new Map<MemberText, ValueFile>();
  /** In lower case: there are file systems that know no other. */
  readonly #names = new Set<string>();
  readonly #waiting = newFile(".waiting", null);
  /** Took the first part of the page under way. */
  #first: ValueFile | undefined;

  /** @param member whose values these are, for messages */
  constructor(folder: string, member: string) {
    this.#folder = folder;
    this.#member = member;
  }

  /**
   * Takes a part for the file of a value; undefined for one that has not come yet. What waits is of the first record of a page.
   * @throws PipelineError `config-invalid` where the value cannot be a file's name
   */
  add(value: MemberText | undefined, { start, end, record, ends }: Part): void {
    const file = value === undefined ? this.#waiting : this.#fileOf(value, record);
    this.#first ??= file;
    if (ends) file.records += 1;
    if (file.parts.at(-1) === start) file.parts.pop();
    else file.parts.push(start);
    file.parts.push(end);
    file.partBytes += end - start;
  }

  /** Writes what was taken of the page. */
  async write(page: Uint8Array, signal: AbortSignal): Promise<void> {
    const { bytes } = this.#waiting;
    if (this.#first && this.#first !== this.#waiting && bytes > 0)
      await this.#endWaiting(this.#first, signal);
    this.#first = undefined;
    for (const file of [...this.#files.values(), this.#waiting])
      if (file.parts.length > 0) await this.#writeParts(file, page);
  }

  /** Makes all files durable; they are closed then. */
  async finish(): Promise<RestoredFile[]> {
    const files = [...this.#files.values()].sort((a, b) => (a.name < b.name ? -1 : 1));
    for (const { handle } of files) await handle?.sync();
    if (this.#waiting.handle) await unlink(join(this.#folder, this.#waiting.name));
    await this.close();
    return files.map(({ name, value, records, bytes }) => ({ file: name, value, records, bytes }));
  }

  /** Closes all of them, whatever becomes of one. */
  async close(): Promise<void> {
    const closed = [...this.#files.values(), this.#waiting].map(async (file) => {
      const { handle } = file;
      file.handle = undefined;
      await handle?.close();
    });
    const failed = (await Promise.allSettled(closed)).find(({ status }) => status === "rejected");
    if (failed?.status === "rejected") throw failed.reason;
  }

  #fileOf(value: MemberText, record: number): ValueFile {
    return this.#files.get(value) ?? this.#addFile(value, record);
  }

  #addFile(value: MemberText, record: number): ValueFile {
    const name = `${value ?? nameWithout}.ndjson`;
    if (value !== null && (!safe.test(value) || device.test(value)))
      throw this.#refused(
        record,
        "is no safe name for a file; expected 1 to 64 of A-Z, a-z, 0-9, `.`, `_` and `-`, a letter or digit first",
      );
    if (this.#names.has(name.toLowerCase()))
      throw this.#refused(record, "differs from another one by case alone, and so would two files");
    if (this.#files.size === mostFiles)
      throw this.#refused(
        record,
        `is the ${mostFiles + 1}th different one; at most ${mostFiles} become files`,
      );
    const file = newFile(name, value);
    this.#names.add(name.toLowerCase());
    this.#files.set(value, file);
    return file;
  }

  /** Says the member and the record, never its value. */
  #refused(record: number, why: string): PipelineError {
    return new PipelineError(
      "config-invalid",
      `restore: what record ${record} has as ${this.#member} ${why}; restore it to one file`,
    );
  }

  async #writeParts(file: ValueFile, page: Uint8Array): Promise<void> {
    const { parts, partBytes } = file;
    const from = Buffer.from(page.buffer, page.byteOffset, page.length);
    const bytes = Buffer.from(takeMemory(partBytes).buffer);
    let at = 0;
    for (let part = 0; part < parts.length; part += 2)
      at += from.copy(bytes, at, parts[part], parts[part + 1]);
    file.parts = [];
    file.partBytes = 0;
    await this.#append(file, bytes);
    freeBuffer(bytes);
  }

  async #append(file: ValueFile, bytes: Uint8Array): Promise<void> {
    const { O_CREAT, O_EXCL, O_NOFOLLOW, O_RDWR } = constants;
    file.handle ??= await open(
      join(this.#folder, file.name),
      O_RDWR | O_CREAT | O_EXCL | O_NOFOLLOW,
      0o600,
    );
    await writeAll(file.handle, bytes, file.bytes);
    file.bytes += bytes.length;
  }

  /** A record that is known at last begins with what waited. */
  async #endWaiting(file: ValueFile, signal: AbortSignal): Promise<void> {
    const { handle, bytes } = this.#waiting;
    if (!handle) return;
    for await (const piece of readPieces(handle, 0, bytes, signal)) await this.#append(file, piece);
    await handle.truncate(0);
    this.#waiting.bytes = 0;
  }
}

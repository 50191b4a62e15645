/**
 * The file behind destination `tar:`: what it holds after a crash, and how it grows by whole, synced entries.
 */
import { constants } from "node:fs";
import { type FileHandle, open, rm } from "node:fs/promises";
import { dirname } from "node:path";
import { PipelineError } from "../../errors.ts";
import { makeFolder, syncFolder, writeAll, type Parts } from "../durable-file.ts";
import { digestOf, isFull, linkOnce, statOf } from "./file-work.ts";
import { type TarEntry, readEntry } from "./tar-entry.ts";

const { O_CREAT, O_NOFOLLOW, O_NONBLOCK, O_RDONLY, O_RDWR } = constants;

export type Place = Pick<TarEntry, "start" | "bytes">;

export interface Bundle {
  readonly path: string;
  readonly partial: string;
  /** Entries by name; undefined until the file was looked at. */
  entries: Map<string, Place> | undefined;
  /** Where the next entry goes. */
  end: number;
  finished: boolean;
  writer: FileHandle | undefined;
  /** Set by an error after which nobody knows what the disk holds. */
  poisoned: PipelineError | undefined;
  /** The tail of the queue: one thing at a time happens to the file. */
  last: Promise<unknown>;
}

/** Entries by name, found in the file the first time somebody asks. */
export async function load(bundle: Bundle, signal: AbortSignal): Promise<Map<string, Place>> {
  if (bundle.entries) return bundle.entries;
  bundle.finished = (await statOf(bundle.path)) !== undefined;
  const path = bundle.finished ? bundle.path : bundle.partial;
  if ((await statOf(path)) === undefined) return (bundle.entries = new Map());
  const file = await openReader(bundle);
  try {
    const { entries, end } = await scan(file, !bundle.finished, signal);
    bundle.end = end;
    return (bundle.entries = entries);
  } finally {
    await file.close();
  }
}

/** Finds all whole entries by their headers. Only the last can have lost bytes: each was synced before the next. */
async function scan(file: FileHandle, unfinished: boolean, signal: AbortSignal) {
  const { size } = await file.stat();
  const entries = new Map<string, Place>();
  let end = 0;
  for (let at = 0; at < size;) {
    signal.throwIfAborted();
    const entry = await readEntry(file, at, size);
    if (entry === undefined) break;
    const isLast = entry.next >= size;
    if (unfinished && isLast && !(await isWhole(file, entry, size, signal))) break;
    if (entry.isFile) entries.set(entry.name, { start: entry.start, bytes: entry.bytes });
    at = entry.next;
    end = at;
  }
  return { entries, end };
}

async function isWhole(
  file: FileHandle,
  entry: TarEntry,
  size: number,
  signal: AbortSignal,
): Promise<boolean> {
  if (entry.next > size) return false;
  if (entry.sha256 === undefined) return true;
  const digest = await digestOf(file, entry.start, entry.bytes, signal);
  return digest.toString("hex") === entry.sha256;
}

/**
 * Opens the file that holds the bundle now; a pipe would make a plain open wait for ever.
 * @throws PipelineError `destination-refused` when it is none
 */
export async function openReader(bundle: Bundle): Promise<FileHandle> {
  const path = bundle.finished ? bundle.path : bundle.partial;
  const file = await open(path, O_RDONLY | O_NOFOLLOW | O_NONBLOCK);
  if ((await file.stat()).isFile()) return file;
  await file.close();
  throw new PipelineError(
    "destination-refused",
    `${JSON.stringify(path)} is not a file; expected a tar file, or nothing yet`,
  );
}

/** Opens the unfinished file for writing, made where there is none, without the torn end a crash left. */
export async function openWriter(bundle: Bundle): Promise<FileHandle> {
  const folder = dirname(bundle.partial);
  await makeFolder(folder);
  const writer = await open(bundle.partial, O_RDWR | O_CREAT | O_NOFOLLOW, 0o600);
  try {
    await expectLinks(bundle.partial);
    await writer.truncate(bundle.end);
    await writer.sync();
    await syncFolder(folder);
    return writer;
  } catch (error) {
    await writer.close();
    throw error;
  }
}

/** Says now what `finish` would find out hours later. */
async function expectLinks(path: string): Promise<void> {
  const probe = `${path}.link`;
  await linkOnce(path, probe);
  // Also what a crash left: the name is always the same.
  await rm(probe, { force: true });
}

export async function expectSoleWriter(bundle: Bundle, writer: FileHandle): Promise<void> {
  if ((await writer.stat()).size === bundle.end) return;
  throw new PipelineError(
    "destination-failed",
    "somebody else changed the unfinished bundle; expected one writer",
    { retriable: false },
  );
}

/** Writes at the end of the bundle and gives the new end. */
export async function append(bundle: Bundle, writer: FileHandle, pieces: Parts): Promise<number> {
  let at = bundle.end;
  try {
    for await (const piece of pieces) {
      await writeAll(writer, piece, at);
      at += piece.length;
    }
    await writer.sync();
    return at;
  } catch (error) {
    await undo(bundle, writer, error);
    throw error;
  }
}

/**
 * Takes a failed entry back. A full disk may get room again, and of an object that could not be read the file knows nothing;
 * after any other error it is not trusted.
 */
async function undo(bundle: Bundle, writer: FileHandle, error: unknown): Promise<void> {
  const isBack = await writer.truncate(bundle.end).then(
    () => true,
    () => false,
  );
  if (isBack && (isFull(error) || error instanceof PipelineError)) return;
  bundle.poisoned = new PipelineError(
    "destination-failed",
    "an earlier write to the bundle failed, so it is not written to again; check the disk, then run again",
    { cause: error },
  );
}

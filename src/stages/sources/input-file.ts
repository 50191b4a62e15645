/**
 * A file (or stdin) as a source of bytes that proves it was read whole and did not change meanwhile.
 *
 * Before the first and after the last byte the file's fingerprint is taken: device, inode, size, and the times of the
 * last change of its content and of its inode, in nanoseconds; the SHA-256 of everything read goes to the manifest.
 */
import { createHash, type Hash } from "node:crypto";
import { type BigIntStats, constants } from "node:fs";
import { type FileHandle, open, stat } from "node:fs/promises";
import { addAbortSignal } from "node:stream";
import { PipelineError, assert, isAbort, systemCode } from "../../errors.ts";
import type { Consistency, RowBatch } from "../nouns.ts";
import type { RowContext } from "../stage.ts";

/** Bytes asked of a file at once. */
export const readBytes = 64 * 1024;
/** What a parser of every byte takes where the large compiler works on it: a run weighs so much more than one of NDJSON. */
export const parserBytes = 3.5 * 2 ** 20;
/** A batch of rows is passed on when it holds about so many bytes; more outlives the young generation of V8. */
export const batchBytes = 64 * 1024;

/** About how many bytes of memory a JavaScript value made of `textLength` characters of JSON takes. */
export const rowBytes = (textLength: number) => 2 * textLength + 64;

export interface Input {
  /** For messages: the path as configured, or `stdin`. */
  readonly name: string;
  /** Everything in it, once, in chunks that are the reader's to keep. */
  readonly bytes: AsyncIterable<Uint8Array>;
}

interface OpenInput extends Input {
  /** Rejects with `source-changed` when the input is not the same as when it was opened. */
  requireUnchanged(): Promise<void>;
  /** After the last byte only. */
  prove(): Consistency;
  close(): Promise<void>;
}

/**
 * Opens `path` (`-` is stdin), lets `parse` make rows of it, and ends with a batch that carries the proof.
 * @throws PipelineError `input-missing` and `source-refused` for what cannot be opened, `source-changed` for a file
 * that changed while it was read, `source-failed` for read errors, and what `parse` throws.
 */
export async function* readInput(
  path: string,
  queryDigest: string,
  ctx: RowContext,
  parse: (input: Input) => AsyncIterable<RowBatch>,
): AsyncGenerator<RowBatch> {
  const input = path === "-" ? openStdin(ctx.signal) : await openFile(path, ctx.signal);
  let layout: Pick<RowBatch, "shape" | "columns"> = { shape: "documents", columns: [] };
  let rows = 0;
  try {
    for await (const batch of parse(input)) {
      rows += batch.rows.length;
      layout = batch;
      yield batch;
    }
    ctx.signal.throwIfAborted();
    await input.requireUnchanged();
    const end = { rows, consistency: input.prove(), queryDigest };
    yield { shape: layout.shape, columns: layout.columns, rows: [], bytes: 0, end };
  } catch (error) {
    ctx.signal.throwIfAborted();
    // Half a record at the end is only a symptom where somebody cut the file short.
    if (error instanceof PipelineError && error.code === "source-bad-data") {
      await input.requireUnchanged();
    }
    throw error;
  } finally {
    await input.close();
  }
}

/** SHA-256 (hex) of what names an input: the stage and the config fields that choose the rows. */
export function digestQuery(...naming: readonly (string | boolean | null)[]): string {
  return createHash("sha256").update(JSON.stringify(naming)).digest("hex");
}

export function badData(where: string, what: string): PipelineError {
  return new PipelineError("source-bad-data", `${where}: ${what}`);
}

/** What identifies a file and its content as far as the file system knows. */
type Fingerprint = Pick<BigIntStats, (typeof fingerprint)[number]>;
const fingerprint = ["dev", "ino", "size", "mtimeNs", "ctimeNs"] as const;

/** @throws PipelineError `source-changed` naming what is different. */
export function requireSame(path: string, before: Fingerprint, after: Fingerprint): void {
  for (const part of fingerprint) {
    if (before[part] === after[part]) continue;
    const what = part === "dev" || part === "ino" ? "replaced by another file" : "written to";
    throw fileChanged(path, `was ${what}`);
  }
}

/** `mtime` as ISO 8601 in nanoseconds. */
export function formatNanos(nanos: bigint): string {
  const seconds = new Date(Number(nanos / 1_000_000_000n) * 1000).toISOString().slice(0, 19);
  return `${seconds}.${String(nanos % 1_000_000_000n).padStart(9, "0")}Z`;
}

/**
 * Opens a regular file for reading.
 * @throws PipelineError `input-missing` or `source-refused`: not there, not readable, or not a regular file.
 */
export async function openRegular(path: string): Promise<FileHandle> {
  let handle: FileHandle;
  try {
    // Without O_NONBLOCK, opening a FIFO that nobody writes to would never return.
    handle = await open(path, constants.O_RDONLY | constants.O_NONBLOCK);
  } catch (error) {
    throw openError(path, error);
  }
  if ((await handle.stat()).isFile()) return handle;
  await handle.close();
  throw new PipelineError(
    "source-refused",
    `${path} is not a regular file; give a file, or pipe the data in and give \`-\``,
  );
}

async function openFile(path: string, signal: AbortSignal): Promise<OpenInput> {
  const handle = await openRegular(path);
  const before = await handle.stat({ bigint: true });
  const reading = { bytes: 0, hash: createHash("sha256"), ended: false };
  return {
    name: path,
    bytes: readHandle(handle, path, Number(before.size), reading, signal),
    async requireUnchanged() {
      requireSame(path, before, await handle.stat({ bigint: true }));
      requireSame(path, before, await statNow(path));
    },
    prove() {
      const mtime = formatNanos(before.mtimeNs);
      const proof = { size: reading.bytes, mtime, sha256: finish(reading) };
      return { class: "unchanged-file", proof };
    },
    close: () => handle.close(),
  };
}

interface Reading {
  bytes: number;
  readonly hash: Hash;
  ended: boolean;
}

async function* readHandle(
  handle: FileHandle,
  path: string,
  size: number,
  reading: Reading,
  signal: AbortSignal,
): AsyncGenerator<Uint8Array> {
  for (;;) {
    signal.throwIfAborted();
    const buffer = Buffer.allocUnsafeSlow(readBytes);
    const { bytesRead } = await handle.read(buffer, 0, readBytes, null).catch((error: unknown) => {
      throw new PipelineError("source-failed", `reading ${path} failed (${codeOf(error)})`);
    });
    if (bytesRead === 0) break;
    reading.bytes += bytesRead;
    // A file that grows as fast as it is read would otherwise never end.
    if (reading.bytes > size) throw fileChanged(path, "grew");
    const chunk = buffer.subarray(0, bytesRead);
    reading.hash.update(chunk);
    yield chunk;
  }
  if (reading.bytes < size) throw fileChanged(path, "became shorter");
  reading.ended = true;
}

function openStdin(signal: AbortSignal): OpenInput {
  const reading = { bytes: 0, hash: createHash("sha256"), ended: false };
  return {
    name: "stdin",
    bytes: readStdin(reading, signal),
    requireUnchanged: () => Promise.resolve(),
    prove: () => ({
      class: "stream",
      proof: { size: reading.bytes, sha256: finish(reading) },
    }),
    close: () => Promise.resolve(),
  };
}

async function* readStdin(reading: Reading, signal: AbortSignal): AsyncGenerator<Uint8Array> {
  try {
    for await (const chunk of addAbortSignal(signal, process.stdin)) {
      reading.bytes += (chunk as Buffer).length;
      reading.hash.update(chunk as Buffer);
      yield chunk as Buffer;
    }
  } catch (error) {
    if (isAbort(error)) throw signal.reason;
    throw new PipelineError("source-failed", `reading stdin failed (${codeOf(error)})`);
  }
  reading.ended = true;
}

function finish(reading: Reading): string {
  assert(reading.ended, "an input is proven after its last byte only");
  return reading.hash.digest("hex");
}

/** @throws PipelineError `source-changed` when nothing is there any more */
export async function statNow(path: string): Promise<BigIntStats> {
  try {
    return await stat(path, { bigint: true });
  } catch {
    throw fileChanged(path, "was removed");
  }
}

/** The error for an input that is not what it was when it was opened. */
export function fileChanged(path: string, what: string): PipelineError {
  return new PipelineError(
    "source-changed",
    `${path} ${what} while it was read; export a copy, or run again when nobody writes to it`,
  );
}

function openError(path: string, error: unknown): PipelineError {
  const code = codeOf(error);
  if (code === "ENOENT" || code === "ENOTDIR") {
    return new PipelineError("input-missing", `${path} does not exist; expected a file to read`);
  }
  return new PipelineError("source-refused", `${path} cannot be opened for reading (${code})`);
}

function codeOf(error: unknown): string {
  return systemCode(error) ?? "unknown error";
}

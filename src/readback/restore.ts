/**
 * Restores an export to one file, to a stream or to a table. Nothing is released before it is authenticated: a stream gets page
 * after page, a file gets its name only when the whole export has proven complete.
 */
import { randomUUID } from "node:crypto";
import { constants } from "node:fs";
import { open, unlink } from "node:fs/promises";
import { join } from "node:path";
import type { Writable } from "node:stream";
import { pipeline } from "node:stream/promises";
import { PipelineError, systemCode } from "../errors.ts";
import { linkOnce, statOf } from "../stages/destinations/file-work.ts";
import { makeFolder, syncFolder, writeAll } from "../stages/durable-file.ts";
import { freeBuffer } from "../workers/free.ts";
import type { ManifestHead } from "../pipeline/manifest.ts";
import type { ReadOptions } from "./find-run.ts";
import { openExport, type OpenExport } from "./read-pages.ts";
import { restoreToTable, type TableTarget } from "./restore-table.ts";

export interface RestoreOptions extends ReadOptions {
  /** A folder, made when missing; a stream, which is not ended; or a table. */
  readonly to: string | Writable | TableTarget;
  readonly onProgress?: (progress: RestoreProgress) => void;
}

export interface RestoreProgress {
  readonly pages: number;
  readonly totalPages: number;
  /** Bytes of records restored so far. */
  readonly bytes: number;
}

export interface RestoreSummary {
  readonly run: string;
  readonly pipeline: string;
  readonly pages: number;
  readonly records: number;
  /** Bytes of records. */
  readonly bytes: number;
  /** Absolute or relative as `to` was; null for a stream and for a table. */
  readonly file: string | null;
  readonly signer: string;
  readonly pinned: boolean;
}

/**
 * Restores the export at `url` (a run's folder; a pipeline's or a destination's gives the newest complete run) to
 * `<pipeline>.<format>` in a folder (0600, never over a file that is there), to a stream or to a table.
 * @throws PipelineError `integrity-failed`, `key-wrong`, `not-found`, `config-invalid` (the file exists),
 * `destination-failed` (the target cannot be written), `disk-full`, or of the export's destination.
 */
export async function restoreExport(url: string, options: RestoreOptions): Promise<RestoreSummary> {
  const opened = await openExport(url, options);
  const { head, manifest } = opened;
  try {
    const content = contentOf(opened, options);
    const file = await release(content, head, options);
    const { pages, records, plainBytes } = manifest.tail.totals;
    return {
      run: head.run,
      pipeline: head.pipeline,
      pages,
      records,
      bytes: plainBytes,
      file,
      signer: manifest.signer,
      pinned: manifest.pinned,
    };
  } finally {
    await opened.close();
  }
}

async function* contentOf(
  { pages, manifest }: OpenExport,
  { onProgress }: RestoreOptions,
): AsyncGenerator<Uint8Array> {
  const totalPages = manifest.tail.totals.pages;
  let count = 0;
  let bytes = 0;
  for await (const { content } of pages) {
    count += 1;
    bytes += content.length;
    yield content;
    onProgress?.({ pages: count, totalPages, bytes });
  }
}

/** Gives the name of the file, where it became one. */
async function release(
  content: AsyncGenerator<Uint8Array>,
  head: ManifestHead,
  { to, signal }: RestoreOptions,
): Promise<string | null> {
  if (typeof to === "string")
    return toFile(content, to, `${head.pipeline}.${head.layers.extension}`);
  if ("table" in to)
    await restoreToTable(content, head, to, signal ?? new AbortController().signal);
  else await toStream(content, to);
  return null;
}

/** The name comes from the manifest's checked pipeline name and format alone, so it cannot leave the folder. */
async function toFile(
  content: AsyncGenerator<Uint8Array>,
  folder: string,
  name: string,
): Promise<string> {
  const path = join(folder, name);
  const incoming = join(folder, `.${name}.${randomUUID()}.partial`);
  try {
    await makeFolder(folder);
    if (await statOf(path)) throw taken(path);
    await writeFile(content, incoming);
    try {
      if (!(await linkOnce(incoming, path))) throw taken(path);
    } finally {
      await unlink(incoming);
    }
    await syncFolder(folder);
    return path;
  } catch (error) {
    throw writeFailure(error, folder);
  }
}

async function writeFile(content: AsyncGenerator<Uint8Array>, path: string): Promise<void> {
  const { O_CREAT, O_EXCL, O_NOFOLLOW, O_WRONLY } = constants;
  const file = await open(path, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW, 0o600);
  try {
    let at = 0;
    for await (const page of content) {
      await writeAll(file, page, at);
      at += page.length;
      freeBuffer(page);
    }
    await file.sync();
    await file.close();
  } catch (error) {
    await file.close().catch(() => {});
    await unlink(path);
    throw error;
  }
}

async function toStream(content: AsyncGenerator<Uint8Array>, to: Writable): Promise<void> {
  try {
    await pipeline(content, to, { end: false });
  } catch (error) {
    throw writeFailure(error, "the stream");
  }
}

function taken(path: string): PipelineError {
  return new PipelineError(
    "config-invalid",
    `${path} exists; move it away, it is never overwritten`,
  );
}

function writeFailure(cause: unknown, where: string): unknown {
  const code = systemCode(cause);
  if (cause instanceof PipelineError || code === undefined || code === "ABORT_ERR") return cause;
  if (code === "ERR_ACCESS_DENIED") {
    return new PipelineError(
      "config-invalid",
      `restore: Node's permission model forbids writing to ${where} durably; restore to a stream, or run without --permission`,
      { cause },
    );
  }
  if (code === "ENOSPC" || code === "EDQUOT") {
    return new PipelineError("disk-full", `restore: no room left in ${where}`, { cause });
  }
  return new PipelineError("destination-failed", `restore: writing to ${where} failed (${code})`, {
    cause,
  });
}

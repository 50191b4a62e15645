/**
 * Restores an export to one file, to a file for each value of a member, to a stream or to a table. Nothing is released before it is
 * authenticated: a stream gets page after page, files get their names only when the whole export has proven complete.
 */
import { constants } from "node:fs";
import { open, unlink } from "node:fs/promises";
import { join } from "node:path";
import type { Writable } from "node:stream";
import { pipeline } from "node:stream/promises";
import { linkOnce, statOf } from "../stages/destinations/file-work.ts";
import { makeFolder, syncFolder, writeAll } from "../stages/durable-file.ts";
import { freeBuffer } from "../workers/free.ts";
import type { ManifestHead } from "../pipeline/manifest.ts";
import type { ReadOptions } from "./find-run.ts";
import { partialPath } from "./partial-files.ts";
import { openExport, type OpenExport } from "./read-pages.ts";
import { taken, writeFailure } from "./restore-failure.ts";
import { restoreToFiles, type FilesTarget } from "./restore-files.ts";
import { restoreToTable, type TableTarget } from "./restore-table.ts";
import type { RestoredFile } from "./value-files.ts";

export interface RestoreOptions extends ReadOptions {
  /** A folder, made when missing, that takes one file, or several; a stream, which is not ended; or a table. */
  readonly to: string | Writable | FilesTarget | TableTarget;
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
  /** Absolute or relative as `to` was; with `by` the folder of the files; null for a stream and for a table. */
  readonly file: string | null;
  /** With `by`, by name. */
  readonly files?: readonly RestoredFile[];
  /** Of a table: pages that an earlier call, which was stopped, had written there. */
  readonly pagesBefore?: number;
  readonly signer: string;
  readonly pinned: boolean;
}

/**
 * Restores the export at `url` (a run's folder; a pipeline's or a destination's gives the newest complete run) to
 * `<pipeline>.<format>` in a folder (0600, never over a file that is there), to a stream or to a table; with `by` to
 * `<pipeline>/<value>.ndjson`, a file for each value of that member.
 * @throws PipelineError `integrity-failed`, `key-wrong`, `not-found`, `config-invalid` (the file exists; a value is no name),
 * `destination-failed` (the target cannot be written), `destination-refused` (the table has had this run), `disk-full`, or of the
 * export's destination.
 */
export async function restoreExport(url: string, options: RestoreOptions): Promise<RestoreSummary> {
  const opened = await openExport(url, options);
  const { head, manifest } = opened;
  try {
    const content = contentOf(opened, options);
    const released = await release(content, manifest, options);
    const { pages, records, plainBytes } = manifest.tail.totals;
    return {
      run: head.run,
      pipeline: head.pipeline,
      pages,
      records,
      bytes: plainBytes,
      ...released,
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

type Released = Pick<RestoreSummary, "file" | "files" | "pagesBefore">;

async function release(
  content: AsyncGenerator<Uint8Array>,
  manifest: OpenExport["manifest"],
  { to, signal = new AbortController().signal }: RestoreOptions,
): Promise<Released> {
  const { head } = manifest;
  if (typeof to === "string")
    return { file: await toFile(content, to, `${head.pipeline}.${head.layers.extension}`) };
  if ("by" in to) return await toFiles(content, head, to, signal);
  if ("table" in to)
    return { file: null, ...(await restoreToTable(content, manifest, to, signal)) };
  await toStream(content, to);
  return { file: null };
}

async function toFiles(
  content: AsyncGenerator<Uint8Array>,
  head: ManifestHead,
  to: FilesTarget,
  signal: AbortSignal,
): Promise<Released> {
  try {
    const { path, files } = await restoreToFiles(content, head, to, signal);
    return { file: path, files };
  } catch (error) {
    throw writeFailure(error, to.folder);
  }
}

/** The name comes from the manifest's checked pipeline name and format alone, so it cannot leave the folder. */
async function toFile(
  content: AsyncGenerator<Uint8Array>,
  folder: string,
  name: string,
): Promise<string> {
  const path = join(folder, name);
  const incoming = partialPath(folder, name);
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

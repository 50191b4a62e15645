/**
 * An export of NDJSON taken apart: a file for each value of a top-level member, each record in one of them as it is, in
 * order. The files lie in one folder, which gets its name when the whole export has proven complete: all of them, or none.
 * Holds a page and a copy of it.
 */
import { rename, rm } from "node:fs/promises";
import { join } from "node:path";
import { PipelineError, systemCode } from "../errors.ts";
import type { ManifestHead } from "../pipeline/manifest.ts";
import { statOf } from "../stages/destinations/file-work.ts";
import { makeFolder, syncFolder } from "../stages/durable-file.ts";
import { freeBuffer } from "../workers/free.ts";
import { MemberScanner } from "./member-scanner.ts";
import { partialPath } from "./partial-files.ts";
import { taken } from "./restore-failure.ts";
import { ValueFiles, type RestoredFile } from "./value-files.ts";

/** A folder that takes a file for each value of a member. */
export interface FilesTarget {
  /** The files lie in a folder below it, named after the pipeline. */
  readonly folder: string;
  /** Name of a top-level member of the records, such as `resourceType`. */
  readonly by: string;
}

/** What became of the records. */
export interface RestoredFiles {
  readonly path: string;
  readonly files: readonly RestoredFile[];
}

/**
 * Writes the files.
 * @throws PipelineError `config-invalid` (the folder exists, the export is not NDJSON, a value is no name for a file, there
 * are too many, a record has the member twice), `integrity-failed` (a record is no object)
 */
export async function restoreToFiles(
  content: AsyncGenerator<Uint8Array>,
  { pipeline, layers }: Pick<ManifestHead, "pipeline" | "layers">,
  { folder, by }: FilesTarget,
  signal: AbortSignal,
): Promise<RestoredFiles> {
  if (layers.extension !== "ndjson") {
    throw new PipelineError(
      "config-invalid",
      `restore: only NDJSON is taken apart by a member, and the export holds ${layers.extension}; restore it to one file`,
    );
  }
  const path = join(folder, pipeline);
  await makeFolder(folder);
  if (await statOf(path)) throw taken(path);
  const incoming = partialPath(folder, pipeline);
  try {
    await makeFolder(incoming);
    const files = await takeApart(content, new ValueFiles(incoming, by), by, signal);
    await syncFolder(incoming);
    signal.throwIfAborted();
    await giveName(incoming, path);
    await syncFolder(folder);
    return { path, files: files.map((it) => ({ ...it, file: join(path, it.file) })) };
  } finally {
    // There is none any more where it got its name.
    await rm(incoming, { recursive: true, force: true });
  }
}

async function takeApart(
  content: AsyncGenerator<Uint8Array>,
  files: ValueFiles,
  member: string,
  signal: AbortSignal,
): Promise<RestoredFile[]> {
  const scanner = new MemberScanner(member);
  try {
    for await (const page of content) {
      let start = 0;
      scanner.scan(page, (end, value) => {
        files.add(value, { start, end, record: scanner.record, ends: true });
        start = end;
      });
      const end = page.length;
      if (start < end)
        files.add(scanner.found, { start, end, record: scanner.record, ends: false });
      await files.write(page, signal);
      freeBuffer(page);
    }
    scanner.finish();
    return await files.finish();
  } catch (error) {
    await files.close().catch(() => {});
    throw error;
  }
}

/** A folder is never put over another one, unless that is empty, nor over anything else. */
async function giveName(incoming: string, path: string): Promise<void> {
  try {
    await rename(incoming, path);
  } catch (error) {
    if (!["EEXIST", "ENOTEMPTY", "ENOTDIR"].includes(systemCode(error) ?? "")) throw error;
    throw taken(path);
  }
}

/** What a crash may leave in the spool, and how it becomes whole again. Doing it twice changes nothing. */
import { constants, createReadStream } from "node:fs";
import { mkdir, open, opendir, rename, rm, unlink, type FileHandle } from "node:fs/promises";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { systemCode } from "../../errors.ts";
import type { FinalFacts } from "../nouns.ts";
import {
  decodeLine,
  decodeTrailer,
  pageName,
  spoolDamaged,
  type Checkpoint,
  type HmacKey,
} from "./checkpoint.ts";
import { syncFolder } from "../durable-file.ts";
import { diskBytes, toSpoolError } from "./spool-room.ts";

export interface Recovered {
  readonly acknowledged: number;
  readonly durable: number;
  /** What all page files' names end with; undefined where none waits. */
  readonly extension: string | undefined;
  /** Bytes on disk of the pages that are durable and not acknowledged. */
  readonly usedBytes: number;
  readonly facts: FinalFacts | undefined;
}

const pageFile = /^(\d{8,})\.([a-z0-9]+(?:\.[a-z0-9]+)*)$/;

/**
 * Removes unfinished and already acknowledged pages, cuts a torn journal line, puts foreign files aside.
 * @throws PipelineError `integrity-failed` when a page in the middle is missing or changed
 */
export async function recoverPages(folder: string, key: HmacKey): Promise<Recovered> {
  for (const name of ["", "pages", "incoming"])
    await mkdir(join(folder, name), { recursive: true, mode: 0o700 });
  for await (const { name } of await opendir(join(folder, "incoming")))
    await rm(join(folder, "incoming", name));
  const { acknowledged, ...journal } = await recoverJournal(join(folder, "acks.ndjson"), key);
  await clear(folder, acknowledged);
  const found = await lookAt(join(folder, "pages"), acknowledged);
  let durable = acknowledged;
  let usedBytes = 0;
  let { facts } = journal;
  for (let left = found.count; left > 0; left -= 1) {
    const name = left === 1 ? found.last : pageName(durable, found.extension ?? "");
    const page = await readPageFile(join(folder, "pages", name), key);
    if (page?.checkpoint.page === durable && page.checkpoint.name === name) {
      durable += 1;
      usedBytes += diskBytes(page.fileBytes);
      facts = page.checkpoint.facts ?? facts;
    } else if (!page && left === 1) {
      await putAside(folder, name);
    } else if (await putAsideUnsynced(folder, key, durable)) {
      break;
    } else {
      throw spoolDamaged(`page ${durable} is missing or changed`);
    }
  }
  await syncFolder(join(folder, "pages"));
  const extension = durable > acknowledged ? found.extension : undefined;
  return { acknowledged, durable, extension, usedBytes, facts };
}

/**
 * Pages are named one by one and the folder is synced once for all of a flush: a file system that keeps no order between
 * names may lose some of them and keep later ones. None of these was durable yet, so they are put aside.
 * @returns false where a page is missing that was durable
 */
async function putAsideUnsynced(folder: string, key: HmacKey, missing: number) {
  const pages = join(folder, "pages");
  const numberOf = (name: string) => Number(pageFile.exec(name)?.[1]);
  for await (const { name } of await opendir(pages)) {
    const number = numberOf(name);
    if (number < missing) continue;
    const page = number > missing ? await readPageFile(join(pages, name), key) : undefined;
    if (!page || page.checkpoint.since > missing) return false;
  }
  for await (const { name } of await opendir(pages)) {
    if (numberOf(name) > missing) await putAside(folder, name);
  }
  return true;
}

/** Puts foreign files aside, and removes pages whose acknowledgement is durable. */
async function clear(folder: string, acknowledged: number): Promise<void> {
  for await (const { name } of await opendir(join(folder, "pages"))) {
    const match = pageFile.exec(name);
    if (!match) await putAside(folder, name);
    else if (Number(match[1]) < acknowledged) await unlink(join(folder, "pages", name));
  }
}

/** How many pages lie there, what the first is called after its number, and the last one's name; never a list. */
async function lookAt(pages: string, first: number) {
  let [count, last, highest] = [0, "", -1];
  let extension: string | undefined;
  for await (const { name } of await opendir(pages)) {
    const [, number, rest] = pageFile.exec(name) ?? [];
    count += 1;
    if (Number(number) === first) extension = rest;
    if (Number(number) > highest) [last, highest] = [name, Number(number)];
  }
  return { count, last, extension };
}

async function putAside(folder: string, name: string): Promise<void> {
  await mkdir(join(folder, "quarantine"), { recursive: true, mode: 0o700 });
  await rename(join(folder, "pages", name), join(folder, "quarantine", name));
}

async function recoverJournal(
  path: string,
  key: HmacKey,
): Promise<{ acknowledged: number; facts: FinalFacts | undefined }> {
  let acknowledged = 0;
  let wholeBytes = 0;
  let facts: FinalFacts | undefined;
  const file = await openPlain(path, constants.O_RDWR);
  if (!file) return { acknowledged, facts };
  try {
    const { size } = await file.stat();
    let torn = false;
    for await (const { checkpoints, bytes } of journalLines(path, key)) {
      // A crash tears the last line; anything else is damage that must not be cut away.
      if (torn) throw spoolDamaged("the journal of acknowledgements was changed");
      torn = !checkpoints || wholeBytes + bytes > size;
      if (!checkpoints || torn) continue;
      for (const checkpoint of checkpoints) {
        if (checkpoint.page !== acknowledged)
          throw spoolDamaged("the journal of acknowledgements has a gap");
        acknowledged += 1;
        facts = checkpoint.facts ?? facts;
      }
      wholeBytes += bytes;
    }
    if (wholeBytes < size) await file.truncate(wholeBytes);
    // What is read may not be on the disk yet, and pages are removed because of it.
    await file.datasync();
  } finally {
    await file.close();
  }
  return { acknowledged, facts };
}

/** Bytes of a file, the end not included. */
export interface ByteRange {
  readonly start: number;
  readonly end: number;
}

/** The journal's checkpoints in page order, a line at a time, each with its bytes. */
export async function* readJournal(path: string, key: HmacKey, range?: ByteRange) {
  for await (const { checkpoints, bytes } of journalLines(path, key, range)) {
    if (!checkpoints) throw spoolDamaged("the journal of acknowledgements was changed");
    yield { checkpoints, bytes };
  }
}

async function* journalLines(path: string, key: HmacKey, range?: ByteRange) {
  const stream = createReadStream(path, range && { start: range.start, end: range.end - 1 });
  try {
    for await (const line of createInterface({ input: stream, crlfDelay: 0 })) {
      yield { checkpoints: decodeLine(key, line), bytes: Buffer.byteLength(line) + 1 };
    }
  } catch (error) {
    if (systemCode(error) !== "ENOENT") throw toSpoolError(error);
  } finally {
    stream.destroy();
  }
}

/** The checkpoint of a page file; undefined when it is gone, torn or changed at its end, or no file of its own. */
export async function readPageFile(
  path: string,
  key: HmacKey,
): Promise<{ checkpoint: Checkpoint; fileBytes: number } | undefined> {
  const file = await openPlain(path);
  if (!file) return undefined;
  try {
    const { size } = await file.stat();
    const checkpoint = await decodeTrailer(key, size, async (position, length) => {
      const bytes = Buffer.alloc(length);
      const { bytesRead } = await file.read(bytes, 0, length, position);
      return bytes.subarray(0, bytesRead);
    });
    return checkpoint && { checkpoint, fileBytes: size };
  } finally {
    await file.close();
  }
}

/** Undefined where there is no file, or a symbolic link, wherever it leads. */
export async function openPlain(
  path: string,
  access = constants.O_RDONLY,
): Promise<FileHandle | undefined> {
  try {
    return await open(path, access | constants.O_NOFOLLOW | constants.O_NONBLOCK);
  } catch (error) {
    if (["ELOOP", "ENOENT"].includes(systemCode(error) ?? "")) return undefined;
    throw error;
  }
}

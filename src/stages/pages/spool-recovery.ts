/** What a crash may leave in the spool, and how it becomes whole again. Doing it twice changes nothing. */
import { constants } from "node:fs";
import { join } from "node:path";
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
import { makeFolder, readAll, syncFolder } from "../durable-file.ts";
import { realDisk, type Disk, type DiskFile } from "../world.ts";
import { diskBytes, onDisk } from "./spool-room.ts";

export interface Recovered {
  readonly acknowledged: number;
  readonly durable: number;
  /** What all page files' names end with; undefined where none waits. */
  readonly extension: string | undefined;
  /** Bytes on disk of the pages that are durable and not acknowledged. */
  readonly usedBytes: number;
  readonly facts: FinalFacts | undefined;
}

/** The journal is read in pieces of this size. */
const pieceBytes = 64 * 1024;

/** Where one run's pages lie. */
interface At {
  readonly disk: Disk;
  readonly folder: string;
  readonly key: HmacKey;
}

const pageFile = /^(\d{8,})\.([a-z0-9]+(?:\.[a-z0-9]+)*)$/;

/**
 * Removes unfinished and already acknowledged pages, cuts a torn journal line, puts foreign files aside.
 * @throws PipelineError `integrity-failed` when a page in the middle is missing or changed
 */
export async function recoverPages(
  folder: string,
  key: HmacKey,
  disk: Disk = realDisk,
): Promise<Recovered> {
  for (const name of ["", "pages", "incoming"]) await makeFolder(join(folder, name), disk);
  for await (const { name } of await disk.opendir(join(folder, "incoming")))
    await disk.unlink(join(folder, "incoming", name));
  const at = { disk, folder, key };
  const { acknowledged, ...journal } = await recoverJournal(at);
  await clear(at, acknowledged);
  const found = await lookAt(at, acknowledged);
  let durable = acknowledged;
  let usedBytes = 0;
  let { facts } = journal;
  for (let left = found.count; left > 0; left -= 1) {
    const name = left === 1 ? found.last : pageName(durable, found.extension ?? "");
    const page = await readPageFile(disk, join(folder, "pages", name), key);
    if (page?.checkpoint.page === durable && page.checkpoint.name === name) {
      durable += 1;
      usedBytes += diskBytes(page.fileBytes);
      facts = page.checkpoint.facts ?? facts;
    } else if (!page && left === 1) {
      await putAside(at, name);
    } else if (await removeUnsynced(at, durable)) {
      break;
    } else {
      throw spoolDamaged(`page ${durable} is missing or changed`);
    }
  }
  await syncFolder(join(folder, "pages"), disk);
  const extension = durable > acknowledged ? found.extension : undefined;
  return { acknowledged, durable, extension, usedBytes, facts };
}

/**
 * Pages are named one by one and the folder is synced once for all of a flush: a file system that keeps no order between
 * names may lose some of them and keep later ones. None of these was durable yet, so they are removed: they will be made again.
 * @returns false where a page is missing that was durable
 */
async function removeUnsynced(at: At, missing: number) {
  const { disk, folder, key } = at;
  const pages = join(folder, "pages");
  const numberOf = (name: string) => Number(pageFile.exec(name)?.[1]);
  for await (const { name } of await disk.opendir(pages)) {
    const number = numberOf(name);
    if (number < missing) continue;
    const page = number > missing ? await readPageFile(disk, join(pages, name), key) : undefined;
    if (!page || page.checkpoint.since > missing) return false;
  }
  for await (const { name } of await disk.opendir(pages)) {
    if (numberOf(name) > missing) await disk.unlink(join(pages, name));
  }
  return true;
}

/** Puts foreign files aside, and removes pages whose acknowledgement is durable. */
async function clear(at: At, acknowledged: number): Promise<void> {
  const { disk, folder } = at;
  for await (const { name } of await disk.opendir(join(folder, "pages"))) {
    const match = pageFile.exec(name);
    if (!match) await putAside(at, name);
    else if (Number(match[1]) < acknowledged) await disk.unlink(join(folder, "pages", name));
  }
}

/** How many pages lie there, what the first is called after its number, and the last one's name; never a list. */
async function lookAt({ disk, folder }: At, first: number) {
  let [count, last, highest] = [0, "", -1];
  let extension: string | undefined;
  for await (const { name } of await disk.opendir(join(folder, "pages"))) {
    const [, number, rest] = pageFile.exec(name) ?? [];
    count += 1;
    if (Number(number) === first) extension = rest;
    if (Number(number) > highest) [last, highest] = [name, Number(number)];
  }
  return { count, last, extension };
}

async function putAside({ disk, folder }: At, name: string): Promise<void> {
  await makeFolder(join(folder, "quarantine"), disk);
  await disk.rename(join(folder, "pages", name), join(folder, "quarantine", name));
}

async function recoverJournal({
  disk,
  folder,
  key,
}: At): Promise<{ acknowledged: number; facts: FinalFacts | undefined }> {
  let acknowledged = 0;
  let wholeBytes = 0;
  let facts: FinalFacts | undefined;
  const path = join(folder, "acks.ndjson");
  const file = await openPlain(disk, path, constants.O_RDWR);
  if (!file) return { acknowledged, facts };
  try {
    const { size } = await file.stat();
    let torn = false;
    for await (const { checkpoints, bytes } of journalLines({ disk, path, key })) {
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

/** A run's journal, on its disk. */
export interface JournalPlace {
  readonly disk: Disk;
  readonly path: string;
  readonly key: HmacKey;
}

/** Bytes of a file, the end not included. */
export interface ByteRange {
  readonly start: number;
  readonly end: number;
}

/** The journal's checkpoints in page order, a line at a time, each with its bytes. */
export async function* readJournal(journal: JournalPlace, range?: ByteRange) {
  for await (const { checkpoints, bytes } of journalLines(journal, range)) {
    if (!checkpoints) throw spoolDamaged("the journal of acknowledgements was changed");
    yield { checkpoints, bytes };
  }
}

async function* journalLines({ disk, path, key }: JournalPlace, range?: ByteRange) {
  const file = await onDisk(() => openPlain(disk, path));
  if (!file) return;
  try {
    for await (const line of readLines(file, range ?? { start: 0, end: Infinity })) {
      yield { checkpoints: decodeLine(key, line.toString()), bytes: line.length + 1 };
    }
  } finally {
    await file.close();
  }
}

/** Lines without their ends; the last one may lack its own. Holds one line and a piece of the file. */
async function* readLines(file: DiskFile, { start, end }: ByteRange): AsyncGenerator<Buffer> {
  let begun: Buffer[] = [];
  for (let at = start; at < end;) {
    const piece = Buffer.allocUnsafe(Math.min(pieceBytes, end - at));
    const { bytesRead } = await onDisk(() => file.read(piece, 0, piece.length, at));
    if (bytesRead === 0) break;
    at += bytesRead;
    let from = 0;
    for (let newline; (newline = piece.indexOf(0x0a, from)) >= 0 && newline < bytesRead;) {
      yield Buffer.concat([...begun, piece.subarray(from, newline)]);
      [begun, from] = [[], newline + 1];
    }
    begun.push(piece.subarray(from, bytesRead));
  }
  const rest = Buffer.concat(begun);
  if (rest.length > 0) yield rest;
}

/** The checkpoint of a page file; undefined when it is gone, torn or changed at its end, or no file of its own. */
export async function readPageFile(
  disk: Disk,
  path: string,
  key: HmacKey,
): Promise<{ checkpoint: Checkpoint; fileBytes: number } | undefined> {
  const file = await openPlain(disk, path);
  if (!file) return undefined;
  try {
    const { size } = await file.stat();
    const checkpoint = await decodeTrailer(key, size, (position, length) =>
      readAll(file, Buffer.alloc(length), position),
    );
    return checkpoint && { checkpoint, fileBytes: size };
  } finally {
    await file.close();
  }
}

/** Undefined where there is no file, or a symbolic link, wherever it leads. */
export async function openPlain(
  disk: Disk,
  path: string,
  access = constants.O_RDONLY,
): Promise<DiskFile | undefined> {
  try {
    return await disk.open(path, access | constants.O_NOFOLLOW | constants.O_NONBLOCK);
  } catch (error) {
    if (["ELOOP", "ENOENT"].includes(systemCode(error) ?? "")) return undefined;
    throw error;
  }
}

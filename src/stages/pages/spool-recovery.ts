/** What a crash may leave in the spool, and how it becomes whole again. Doing it twice changes nothing. */
import { constants, createReadStream } from "node:fs";
import {
  mkdir,
  open,
  readdir,
  rename,
  rm,
  stat,
  truncate,
  unlink,
  type FileHandle,
} from "node:fs/promises";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { systemCode } from "../../errors.ts";
import type { FinalFacts } from "../nouns.ts";
import { decodeLine, decodeTrailer, spoolDamaged, type Checkpoint } from "./checkpoint.ts";
import { syncFolder } from "../durable-file.ts";

export interface Recovered {
  readonly acknowledged: number;
  readonly durable: number;
  /** The page files that are durable and not acknowledged, in page order. */
  readonly pages: readonly { readonly name: string; readonly replay: string }[];
  readonly usedBytes: number;
  readonly facts: FinalFacts | undefined;
}

const pageFile = /^(\d{8,})(\.[a-z0-9]+)+$/;

/**
 * Removes unfinished and already acknowledged pages, cuts a torn journal line, puts foreign files aside.
 * @throws PipelineError `integrity-failed` when a page in the middle is missing or changed
 */
export async function recoverPages(folder: string, key: Uint8Array): Promise<Recovered> {
  for (const name of ["", "pages", "incoming"])
    await mkdir(join(folder, name), { recursive: true, mode: 0o700 });
  for (const name of await readdir(join(folder, "incoming")))
    await rm(join(folder, "incoming", name));
  const journal = await recoverJournal(join(folder, "acks.ndjson"), key);
  const names = await pagesFrom(folder, journal.acknowledged);
  const pages: { name: string; replay: string }[] = [];
  let usedBytes = 0;
  let { facts } = journal;
  for (const [index, name] of names.entries()) {
    const checkpoint = await readPageFile(join(folder, "pages", name), key);
    const expected = journal.acknowledged + index;
    if (!checkpoint && index === names.length - 1) {
      await putAside(folder, name);
    } else if (checkpoint?.page !== expected || checkpoint.name !== name) {
      throw spoolDamaged(`page ${expected} is missing or changed`);
    } else {
      pages.push({ name, replay: checkpoint.replay });
      usedBytes += checkpoint.sealedBytes;
      facts = checkpoint.facts ?? facts;
    }
  }
  await syncFolder(join(folder, "pages"));
  const { acknowledged } = journal;
  return { acknowledged, durable: acknowledged + pages.length, pages, usedBytes, facts };
}

async function pagesFrom(folder: string, acknowledged: number): Promise<string[]> {
  const found: { number: number; name: string }[] = [];
  for (const name of await readdir(join(folder, "pages"))) {
    const match = pageFile.exec(name);
    if (!match) await putAside(folder, name);
    else if (Number(match[1]) < acknowledged) await unlink(join(folder, "pages", name));
    else found.push({ number: Number(match[1]), name });
  }
  return found.sort((a, b) => a.number - b.number).map(({ name }) => name);
}

async function putAside(folder: string, name: string): Promise<void> {
  await mkdir(join(folder, "quarantine"), { recursive: true, mode: 0o700 });
  await rename(join(folder, "pages", name), join(folder, "quarantine", name));
}

async function recoverJournal(
  path: string,
  key: Uint8Array,
): Promise<{ acknowledged: number; facts: FinalFacts | undefined }> {
  let acknowledged = 0;
  let wholeBytes = 0;
  let facts: FinalFacts | undefined;
  const bytes = await stat(path).then(
    ({ size }) => size,
    () => 0,
  );
  let torn = false;
  for await (const { line, checkpoint } of journalLines(path, key)) {
    // A crash tears the last line; anything else is damage that must not be cut away.
    if (torn) throw spoolDamaged("the journal of acknowledgements was changed");
    torn = !checkpoint || wholeBytes + Buffer.byteLength(line) + 1 > bytes;
    if (!checkpoint || torn) continue;
    if (checkpoint.page !== acknowledged)
      throw spoolDamaged("the journal of acknowledgements has a gap");
    acknowledged += 1;
    wholeBytes += Buffer.byteLength(line) + 1;
    facts = checkpoint.facts ?? facts;
  }
  if (wholeBytes < bytes) await truncate(path, wholeBytes);
  return { acknowledged, facts };
}

/** The journal's checkpoints in page order, one at a time. */
export async function* readJournal(path: string, key: Uint8Array): AsyncGenerator<Checkpoint> {
  for await (const { checkpoint } of journalLines(path, key)) {
    if (!checkpoint) throw spoolDamaged("the journal of acknowledgements was changed");
    yield checkpoint;
  }
}

async function* journalLines(path: string, key: Uint8Array) {
  const stream = createReadStream(path);
  try {
    for await (const line of createInterface({ input: stream, crlfDelay: 0 })) {
      yield { line, checkpoint: decodeLine(key, line) };
    }
  } catch (error) {
    if (systemCode(error) !== "ENOENT") throw error;
  } finally {
    stream.destroy();
  }
}

/** The checkpoint of a page file; undefined when it is torn or changed at its end, or no file of its own. */
export async function readPageFile(path: string, key: Uint8Array): Promise<Checkpoint | undefined> {
  const file = await openPlain(path);
  if (!file) return undefined;
  try {
    const { size } = await file.stat();
    return await decodeTrailer(key, size, async (position, length) => {
      const bytes = Buffer.alloc(length);
      const { bytesRead } = await file.read(bytes, 0, length, position);
      return bytes.subarray(0, bytesRead);
    });
  } finally {
    await file.close();
  }
}

/** Undefined for a symbolic link, wherever it leads. */
async function openPlain(path: string): Promise<FileHandle | undefined> {
  try {
    return await open(path, constants.O_RDONLY | constants.O_NOFOLLOW | constants.O_NONBLOCK);
  } catch (error) {
    if (systemCode(error) === "ELOOP") return undefined;
    throw error;
  }
}

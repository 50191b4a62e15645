/** What a crash may leave in the spool, and how it becomes whole again. Doing it twice changes nothing. */
import { constants } from "node:fs";
import { join } from "node:path";
import type { FinalFacts } from "../nouns.ts";
import { makeFolder, syncFolder } from "../durable-file.ts";
import { realDisk, type Disk } from "../world.ts";
import { pageName, pageNumber, spoolDamaged, type HmacKey } from "./checkpoint.ts";
import { judgeFile, judgeLine, type Marks } from "./page-states.ts";
import { journalLines } from "./spool-journal-lines.ts";
import { openPlain, readPageFile } from "./spool-page-file.ts";
import { diskBytes } from "./spool-room.ts";

export interface Recovered {
  readonly marks: Marks;
  /** What all page files' names end with; undefined where none waits. */
  readonly extension: string | undefined;
  /** Bytes on disk of the pages that are durable and not acknowledged. */
  readonly usedBytes: number;
  readonly facts: FinalFacts | undefined;
  /** The last resume point, sealed. */
  readonly point: string | undefined;
}

/** Where one run's pages lie. */
interface At {
  readonly disk: Disk;
  readonly folder: string;
  readonly key: HmacKey;
}

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
  const journal = await recoverJournal(at);
  const { acked } = journal;
  await clear(at, acked);
  const found = await lookAt(at, acked);
  let durable = acked;
  let usedBytes = 0;
  let { facts, point } = journal;
  for (let left = found.count; left > 0; left -= 1) {
    const name = left === 1 ? found.last : pageName(durable, found.extension ?? "");
    const page = await readPageFile(disk, join(folder, "pages", name), key);
    const file = { name, checkpoint: page?.checkpoint, last: left === 1 };
    const verdict = judgeFile(file, { acked, durable });
    if (verdict === "keep" && page) {
      durable += 1;
      usedBytes += diskBytes(page.fileBytes);
      facts = page.checkpoint.facts ?? facts;
      point = page.checkpoint.point ?? point;
    } else if (verdict === "put aside" && left === 1) {
      await putAside(at, name);
    } else {
      await removeBehindGap(at, { acked, durable });
      break;
    }
  }
  await syncFolder(join(folder, "pages"), disk);
  const extension = durable > acked ? found.extension : undefined;
  return { marks: { sealed: durable, durable, acked }, extension, usedBytes, facts, point };
}

/**
 * Pages are named one by one and the folder is synced once for all of a flush: a file system that keeps no order between
 * names may lose some of them and keep later ones.
 * @throws PipelineError `integrity-failed` where a page is missing that was durable
 */
async function removeBehindGap(at: At, marks: Omit<Marks, "sealed">): Promise<void> {
  const { disk, folder, key } = at;
  const pathOf = (name: string) => join(folder, "pages", name);
  for await (const { name, number } of pageFiles(at)) {
    if (number < marks.durable) continue;
    const page = await readPageFile(disk, pathOf(name), key);
    const file = { name, checkpoint: page?.checkpoint, last: false };
    if (judgeFile(file, marks) !== "remove")
      throw spoolDamaged(`page ${marks.durable} is missing or changed`);
  }
  for await (const { name, number } of pageFiles(at)) {
    if (number >= marks.durable) await disk.unlink(pathOf(name));
  }
}

/** What lies there under a page's name, in any order; anything else may be laid there at any time. */
async function* pageFiles({ disk, folder }: At) {
  for await (const { name } of await disk.opendir(join(folder, "pages"))) {
    const number = pageNumber(name);
    if (number !== undefined) yield { name, number };
  }
}

/** What can be judged by its name: foreign files, and pages whose acknowledgement is durable. */
async function clear(at: At, acked: number): Promise<void> {
  const { disk, folder } = at;
  for await (const { name } of await disk.opendir(join(folder, "pages"))) {
    const unread = { name, checkpoint: undefined, last: false };
    const verdict = judgeFile(unread, { acked, durable: acked });
    if (verdict === "put aside") await putAside(at, name);
    if (verdict === "remove") await disk.unlink(join(folder, "pages", name));
  }
}

/** How many pages lie there, what the first is called after its number, and the last one's name; never a list. */
async function lookAt(at: At, first: number) {
  let [count, last, highest] = [0, "", -1];
  let extension: string | undefined;
  for await (const { name, number } of pageFiles(at)) {
    count += 1;
    if (number === first) extension = name.slice(name.indexOf(".") + 1);
    if (number > highest) [last, highest] = [name, number];
  }
  return { count, last, extension };
}

async function putAside({ disk, folder }: At, name: string): Promise<void> {
  await makeFolder(join(folder, "quarantine"), disk);
  await disk.rename(join(folder, "pages", name), join(folder, "quarantine", name));
}

interface RecoveredJournal extends Pick<Recovered, "facts" | "point"> {
  readonly acked: number;
}

async function recoverJournal({ disk, folder, key }: At): Promise<RecoveredJournal> {
  let acked = 0;
  let wholeBytes = 0;
  let facts: FinalFacts | undefined;
  let point: string | undefined;
  const path = join(folder, "acks.ndjson");
  const file = await openPlain(disk, path, constants.O_RDWR);
  if (!file) return { acked, facts, point };
  try {
    const { size } = await file.stat();
    let torn = false;
    for await (const { checkpoints, bytes } of journalLines({ disk, path, key })) {
      const whole = wholeBytes + bytes <= size ? checkpoints : undefined;
      const verdict = judgeLine(
        whole?.map(({ page }) => page),
        acked,
        torn,
      );
      if (verdict === "stop")
        throw spoolDamaged("the journal of acknowledgements was changed or has a gap");
      torn ||= verdict === "cut";
      for (const checkpoint of whole ?? []) {
        facts = checkpoint.facts ?? facts;
        point = checkpoint.point ?? point;
      }
      if (!torn) wholeBytes += bytes;
      acked += whole?.length ?? 0;
    }
    if (wholeBytes < size) await file.truncate(wholeBytes);
    // What is read may not be on the disk yet, and pages are removed because of it.
    await file.datasync();
  } finally {
    await file.close();
  }
  return { acked, facts, point };
}

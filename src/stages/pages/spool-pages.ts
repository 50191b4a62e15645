/** Pages that lie in the spool: what is known of them, and their bytes. */
import { hash } from "node:crypto";
import { assert } from "../../errors.ts";
import { readAll } from "../durable-file.ts";
import type { DurablePage } from "../nouns.ts";
import type { Disk, DiskFile } from "../world.ts";
import { spoolDamaged, type Checkpoint, type HmacKey } from "./checkpoint.ts";
import { openPlain, readPageFile } from "./spool-page-file.ts";
import { onDisk } from "./spool-room.ts";

/** A page's checkpoint, and what its file takes. */
export interface StoredPage {
  readonly checkpoint: Checkpoint;
  readonly fileBytes: number;
}

export interface SpoolPages {
  /** Remembers a page that became durable, if not too many are remembered. */
  keep(page: StoredPage): void;
  /** From memory, or from the page's own file. */
  find(number: number, name: string): Promise<StoredPage>;
  /** From its file; undefined where that is gone. */
  look(name: string): Promise<StoredPage | undefined>;
  forget(number: number): void;
  /** The sealed bytes, into `memory` where that is given, proved to be those that were stored. */
  read(page: DurablePage, memory?: Uint8Array): Promise<Uint8Array>;
}

/**
 * Pages remembered beside those under way: an upload that keeps up then reads every page's file once, for its bytes. One that lags finds the
 * others in their files, so that memory does not grow with what waits.
 */
const keptMost = 64;

export function createSpoolPages(disk: Disk, folder: string, key: HmacKey): SpoolPages {
  const kept = new Map<number, StoredPage>();
  const pathOf = (name: string) => `${folder}/pages/${name}`;
  const look = (name: string) => onDisk(() => readPageFile(disk, pathOf(name), key));
  return {
    keep(page) {
      if (kept.size < keptMost) kept.set(page.checkpoint.page, page);
    },
    async find(number, name) {
      const page = kept.get(number) ?? (await look(name)) ?? torn(name);
      // Its upload begins: soon it is acknowledged, and forgotten.
      kept.set(number, page);
      return page;
    },
    look,
    forget(number) {
      kept.delete(number);
    },
    read: (page, memory = Buffer.allocUnsafeSlow(page.sealedBytes)) =>
      onDisk(async () => {
        const file = (await openPlain(disk, pathOf(page.name))) ?? torn(page.name);
        return await readSealed(file, page, memory);
      }),
  };
}

async function readSealed(file: DiskFile, page: DurablePage, memory: Uint8Array) {
  assert(memory.length >= page.sealedBytes, "a page is read into memory that is large enough");
  const bytes = memory.subarray(0, page.sealedBytes);
  try {
    if ((await readAll(file, bytes, 0)).length < bytes.length) torn(page.name);
  } finally {
    await file.close();
  }
  if (!hash("sha256", bytes, "buffer").equals(page.sealedDigest)) torn(page.name);
  return bytes;
}

function torn(name: string): never {
  throw spoolDamaged(`page ${name} does not hold what was written to it`);
}

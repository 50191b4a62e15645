/** The journal of acknowledgements as it is read: a line at a time, in pieces of the file. */
import type { Disk, DiskFile } from "../world.ts";
import { decodeLine, spoolDamaged, type HmacKey } from "./checkpoint.ts";
import { openPlain } from "./spool-page-file.ts";
import { onDisk } from "./spool-room.ts";

/** The journal is read in pieces of this size. */
const pieceBytes = 64 * 1024;

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

/** The journal's checkpoints in page order, a line at a time, each with its bytes. Lines that are gone are not missed. */
export async function* readJournal(journal: JournalPlace, range?: ByteRange) {
  for await (const { checkpoints, bytes } of journalLines(journal, range)) {
    if (!checkpoints) throw spoolDamaged("the journal of acknowledgements was changed");
    yield { checkpoints, bytes };
  }
}

/** The same, with lines that are torn or changed. */
export async function* journalLines({ disk, path, key }: JournalPlace, range?: ByteRange) {
  const file = await onDisk(() => openPlain(disk, path));
  if (!file) return;
  try {
    for await (const line of readLines(file, range ?? (await whole(file)))) {
      yield { checkpoints: decodeLine(key, line.toString()), bytes: line.length + 1 };
    }
  } finally {
    await onDisk(() => file.close());
  }
}

const whole = async (file: DiskFile): Promise<ByteRange> => ({
  start: 0,
  end: (await onDisk(() => file.stat())).size,
});

/** Lines without their ends; the last one may lack its own. Holds one line and a piece of the file. */
async function* readLines(file: DiskFile, { start, end }: ByteRange): AsyncGenerator<Buffer> {
  const piece = Buffer.allocUnsafeSlow(Math.min(pieceBytes, end - start));
  let begun: Buffer[] = [];
  for (let at = start; at < end;) {
    const length = Math.min(piece.length, end - at);
    const { bytesRead } = await onDisk(() => file.read(piece, 0, length, at));
    if (bytesRead === 0) break;
    at += bytesRead;
    let from = 0;
    for (let newline; (newline = piece.indexOf(0x0a, from)) >= 0 && newline < bytesRead;) {
      yield Buffer.concat([...begun, piece.subarray(from, newline)]);
      [begun, from] = [[], newline + 1];
    }
    // The next piece is read into the same memory.
    begun.push(Buffer.from(piece.subarray(from, bytesRead)));
  }
  const rest = Buffer.concat(begun);
  if (rest.length > 0) yield rest;
}

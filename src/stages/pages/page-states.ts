/**
 * The protocol: the states of a page, what moves it from one to the next, and what becomes of what a crash leaves.
 *
 *   BUILT       its records fill leased memory                                                 `chunk.ts`
 *   SEALED      compressed, encrypted, opened again and compared; the spool has a copy         `spool-intake.ts`
 *   DURABLE     its file is synced, then named, then the folder is synced                      `spool-flush.ts`
 *   ACKED       the destination has it, and its line in the journal is synced                  `spool-acks.ts`
 *   COMMITTED   a manifest names it, signed, durable here, stored last and read back           `commit.ts`
 *   RELEASED    that is remembered durably; then what the run left goes, `run.json` last       `run-folder.ts`
 *
 * A step begins when the one before it would survive a power cut, and pages take each in order. So three numbers tell
 * where every page is, and a crash can leave only what is judged here. The source's rows are needed until a page is
 * DURABLE, its file until it is ACKED, the journal until the run is COMMITTED.
 */
import { assert } from "../../errors.ts";
import { pageNumber, type Checkpoint } from "./checkpoint.ts";

/** How many pages have come so far, or farther. */
export interface Marks {
  readonly sealed: number;
  readonly durable: number;
  readonly acked: number;
}

const before = { durable: "sealed", acked: "durable" } as const;

/** The page takes its next step: all before it have, and it has taken the one before. */
export function advance(marks: Marks, page: number, to: keyof Marks): Marks {
  assert(page === marks[to], `pages become ${to} in order`);
  if (to !== "sealed")
    assert(page < marks[before[to]], `a page is ${before[to]} before it is ${to}`);
  return { ...marks, [to]: page + 1 };
}

/** A page's file may go: nobody will ask for its bytes again. */
export function assertAcked({ acked }: Marks, page: number): void {
  assert(page < acked, "a page's file goes after its acknowledgement is durable");
}

/** A manifest may be made: of every page, the final one included. */
export function assertComplete(
  { durable, acked }: Omit<Marks, "sealed">,
  pages: number,
  hasFinal: boolean,
): void {
  assert(hasFinal, "a run is committed after its final page is durable");
  const all = pages === acked && acked === durable;
  assert(all, "every durable page is acknowledged before the commit");
}

/** A file that was found among the pages of a run that is taken up. */
export interface FoundFile {
  readonly name: string;
  /** Undefined when it is torn, changed or of another run. */
  readonly checkpoint: Pick<Checkpoint, "page" | "name" | "since"> | undefined;
  /** Nothing lies behind it. */
  readonly last: boolean;
}

/**
 * What becomes of a file, where the pages before it are judged already (`marks`):
 *
 *   keep        it is DURABLE: uploaded, and its rows are not needed again
 *   remove      it is ACKED, or it never was DURABLE: named in one flush with a page whose name was lost
 *   put aside   it is not ours, or nobody can tell; the source makes the page again
 *   stop        a page that was DURABLE is missing or changed, which no crash does
 *
 * What lies in `incoming/` was SEALED at most, and is removed unseen.
 */
export function judgeFile(
  { name, checkpoint, last }: FoundFile,
  { acked, durable }: Pick<Marks, "acked" | "durable">,
): "keep" | "remove" | "put aside" | "stop" {
  const page = pageNumber(name);
  if (page === undefined) return "put aside";
  if (page < acked) return "remove";
  if (!checkpoint) return last ? "put aside" : "stop";
  if (checkpoint.page !== page || checkpoint.name !== name) return "stop";
  if (page === durable) return "keep";
  return page > durable && checkpoint.since <= durable ? "remove" : "stop";
}

/**
 * What becomes of a line of the journal (`pages`: those it acknowledges, where it is whole), in order. A crash tears the
 * line that was being written, which is the last, and what is left of it may look like several; its pages are uploaded
 * again, and found to be there.
 */
export function judgeLine(
  pages: readonly number[] | undefined,
  acked: number,
  behindTorn: boolean,
): "believe" | "cut" | "stop" {
  if (!pages) return "cut";
  if (behindTorn) return "stop";
  return pages.every((page, i) => page === acked + i) ? "believe" : "stop";
}

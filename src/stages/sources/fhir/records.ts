/** Resources become records: copies are cut, what passes is counted. */
import type { Column, RecordBatch, SourceEnd } from "../../nouns.ts";
import type { Mark, Resources } from "./harvest.ts";
import { createSeen } from "./seen.ts";

export interface Tally {
  readonly rows: number;
  /** Of them, those that were searched for themselves. */
  readonly matches: number;
  /** What the searches found, each for itself: more than the matches where searches overlap. */
  readonly answers: number;
  readonly duplicates: number;
  /** False once so many different resources came that a copy of an early one would pass. */
  readonly allRemembered: boolean;
}

export interface RecordMaker extends Tally {
  /**
   * @param resources become invalid
   * @param search what found them, where another may find them too
   */
  make(resources: Resources, search?: string): RecordBatch | undefined;
  /** The last batch, which has no record. */
  end(end: SourceEnd): RecordBatch;
}

export function createRecordMaker(): RecordMaker {
  const seen = createSeen();
  const sums = { rows: 0, matches: 0, answers: 0, duplicates: 0 };
  let columns: readonly Column[] | undefined;
  const extension = "ndjson";

  /** What came with others may later be found for itself, and is one of those that were counted. */
  const isFirstFind = (identity: string) =>
    seen.knows(`included ${identity}`) && !seen.add(`found ${identity}`);
  const isNewIn = (search: string, identity: string | undefined) =>
    identity === undefined || !seen.add(`${search} ${identity}`);
  const keep = ({ identity, included }: Mark, search: string | undefined): boolean => {
    const isCopy = identity !== undefined && seen.add(identity);
    if (isCopy) sums.duplicates += 1;
    else sums.rows += 1;
    // Of a copy as well: what comes with every page is not to be forgotten before it is found.
    if (identity !== undefined && included) seen[isCopy ? "knows" : "add"](`included ${identity}`);
    const isMatch = !included && (!isCopy || isFirstFind(identity));
    if (isMatch) sums.matches += 1;
    const isAnswer = search === undefined ? isMatch : !included && isNewIn(search, identity);
    if (isAnswer) sums.answers += 1;
    return !isCopy;
  };

  return {
    get rows() {
      return sums.rows;
    },
    get matches() {
      return sums.matches;
    },
    get answers() {
      return sums.answers;
    },
    get duplicates() {
      return sums.duplicates;
    },
    get allRemembered() {
      return !seen.forgets;
    },
    make(resources, search) {
      const { marks } = resources;
      const kept = marks.map((mark) => keep(mark, search));
      const { bytes, ends } = kept.every(Boolean) ? resources : cut(resources, kept);
      if (ends.length === 0) return undefined;
      columns ??= namesOf(bytes.subarray(0, ends[0]));
      return { bytes, ends, framing: false, columns, extension };
    },
    end: (end) => ({
      bytes: new Uint8Array(0),
      ends: [],
      framing: true,
      columns: columns ?? [],
      extension,
      end,
    }),
  };
}

/** Moves what is kept together, in place. */
function cut({ bytes, ends }: Resources, kept: readonly boolean[]) {
  const left: number[] = [];
  let length = 0;
  for (const [at, isKept] of kept.entries()) {
    if (!isKept) continue;
    const start = at === 0 ? 0 : ends[at - 1]!;
    const end = ends[at]!;
    bytes.copyWithin(length, start, end);
    length += end - start;
    left.push(length);
  }
  return { bytes: bytes.subarray(0, length), ends: left };
}

/** What `serialize` tells of documents: the names of the first. */
function namesOf(record: Uint8Array): readonly Column[] {
  const first = JSON.parse(Buffer.from(record).toString("utf8")) as object;
  return Object.keys(first).map((name) => ({ name, type: "any", json: "value" }));
}

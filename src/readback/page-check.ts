/**
 * What a page says of itself against what the manifest and the pages before it say: run, place, counts, chain, end.
 */
import { hash } from "node:crypto";
import type { ManifestHead, ManifestTail, PageEntry } from "../pipeline/manifest.ts";
import { nextChain } from "../stages/pages/chunk.ts";
import type { OpenedPage } from "../workers/open.ts";
import type { RecordScanner } from "./record-scanner.ts";
import { createScanner } from "./records.ts";

export interface PageCheck {
  /** Problems of the next page, in words; none when it is as it must be. */
  next(entry: PageEntry, opened: OpenedPage): string[];
  /** The next page could not be opened: what follows is checked against itself. */
  skip(): void;
  /** Problems that show only after the last page. */
  end(): string[];
}

export function createPageCheck(head: ManifestHead, tail: ManifestTail): PageCheck {
  const scanner = createScanner(head.layers);
  let page = 0;
  let total = 0;
  let plainBytes = 0;
  let chain: Uint8Array = new Uint8Array(32);
  // False after a page was skipped, until an identity says where we are.
  let known = true;
  let complete = true;

  const checkIdentity = (
    entry: PageEntry,
    { identity, content }: OpenedPage,
    problems: string[],
  ): void => {
    if (!identity) return;
    const expect = (sound: boolean, problem: string) => sound || problems.push(problem);
    expect(identity.run === head.run, "belongs to another run");
    expect(identity.page === page, `is page ${identity.page} in place of page ${page}`);
    expect(identity.records === entry.records, "counts other records than the manifest");
    expect(
      identity.span === (entry.span ?? "whole"),
      "spans records otherwise than the manifest says",
    );
    expect(identity.bytes === content.length, "holds other bytes than it says");
    expect(
      identity.final === (page === tail.totals.pages - 1),
      identity.final
        ? "is marked as the last page but is not"
        : "is the last page but not marked so",
    );
    if (known) {
      expect(identity.total === total, "does not add up with the records before it");
      expect(
        identity.chain === Buffer.from(chain).toString("hex"),
        "does not follow the page before it",
      );
    }
    total = identity.total;
    chain = Buffer.from(identity.chain, "hex");
    known = true;
  };

  return {
    next(entry, opened) {
      const problems: string[] = [];
      total += entry.records;
      plainBytes += opened.content.length;
      chain = nextChain(chain, hash("sha256", opened.content, "buffer"));
      // After a lost page the scanner may stand inside a quoted field.
      if (scanner && complete) problems.push(...checkRecords(scanner, entry, opened.content));
      checkIdentity(entry, opened, problems);
      page += 1;
      return problems;
    },
    skip() {
      page += 1;
      known = false;
      complete = false;
    },
    end() {
      if (!complete || plainBytes === tail.totals.plainBytes) return [];
      return [`states ${tail.totals.plainBytes} bytes of records; the pages hold ${plainBytes}`];
    },
  };
}

function checkRecords(scanner: RecordScanner, entry: PageEntry, content: Uint8Array): string[] {
  const problems: string[] = [];
  let ended = 0;
  scanner.scan(content, (_end, isHeader) => {
    if (!isHeader) ended += 1;
  });
  if (ended !== entry.records) {
    const found = `${ended} record${ended === 1 ? "" : "s"}`;
    problems.push(`holds ${found} where the manifest says ${entry.records}`);
  }
  const isCut = entry.span === "first" || entry.span === "middle";
  if (scanner.isInside && !isCut) problems.push("ends inside a record");
  return problems;
}

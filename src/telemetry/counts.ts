/** How many rows and bytes one travelling item is, whatever its kind; never a look at the rows themselves. */
import type {
  DurablePage,
  Kind,
  Page,
  PageIdentity,
  Receipt,
  RecordBatch,
  RowBatch,
} from "../stages/nouns.ts";

export interface Count {
  readonly rows: number;
  readonly bytes: number;
}

const ofPage = (page: Page): Count => ({ rows: page.records, bytes: page.content.byteLength });
const ofStored = (page: DurablePage | Receipt): Count => ({
  rows: page.records,
  bytes: page.sealedBytes,
});

const counters: Readonly<Record<Kind, (item: never) => Count>> = {
  nothing: () => ({ rows: 0, bytes: 0 }),
  rows: (batch: RowBatch) => ({ rows: batch.rows.length, bytes: batch.bytes }),
  records: (batch: RecordBatch) => ({
    rows: batch.framing ? 0 : batch.ends.length,
    bytes: batch.bytes.byteLength,
  }),
  pages: ofPage,
  frames: ofPage,
  sealed: ofPage,
  durable: ofStored,
  receipts: ofStored,
};

/** Counts one item of `kind`: bytes in memory for rows, serialized for records, as they lie there for pages. */
export function countItem(kind: Kind, item: unknown): Count {
  // The plan refuses a pipeline where the kinds of neighbours differ, so the item is what its kind says.
  // oxlint-disable-next-line typescript/no-unsafe-type-assertion
  return counters[kind](item as never);
}

const pageKinds: ReadonlySet<Kind> = new Set(["pages", "frames", "sealed", "durable", "receipts"]);

/** True where one item is one page, so that items can be followed by their page number. */
export function isPaged(kind: Kind): boolean {
  return pageKinds.has(kind);
}

/** What every kind of page says of itself, on its way and at its goal. */
export type AnyPage = Pick<PageIdentity, "page" | "records" | "bytes">;

export function isPage(item: unknown): item is AnyPage {
  return typeof item === "object" && item !== null && "page" in item;
}

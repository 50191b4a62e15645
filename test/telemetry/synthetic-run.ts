/** A small export out of made-up stages: the right kinds and windows, no database, no disk. */
import type { Lease } from "../../src/stages/lease.ts";
import { createLease } from "../../src/stages/lease.ts";
import type {
  DurablePage,
  Page,
  PageIdentity,
  Receipt,
  RecordBatch,
  RowBatch,
  SealedPage,
} from "../../src/stages/nouns.ts";
import type { RunWatch } from "../../src/telemetry/watch.ts";

export const rowsAPage = 10;
const recordBytes = 100;

export interface SyntheticRun {
  readonly pages: number;
  /** Fails the upload of this page. */
  readonly failAt?: { readonly page: number; readonly error: Error };
  readonly lease?: Lease;
  /** How stages pass their time. */
  readonly sleep?: Sleep;
}

type Sleep = (millis: number) => Promise<void>;

/** Runs it to its end through the watch; the traceparents that pages carried into the upload come back. */
export async function runSynthetic(watch: RunWatch, run: SyntheticRun): Promise<string[]> {
  const lease = watch.watchLease(run.lease ?? createLease(1 << 20));
  const sleep = run.sleep ?? sleepMillis;
  const traceparents: string[] = [];
  const uploads = (page: DurablePage) => {
    traceparents.push(page.traceparent ?? "");
    if (page.page === run.failAt?.page) throw run.failAt.error;
  };
  const rows = watch.wrap({ name: "postgres", takes: "nothing", gives: "rows" }, nothing(), () =>
    source(run.pages, sleep),
  );
  const records = watch.wrap(
    { name: "serialize", takes: "rows", gives: "records" },
    rows,
    (input) => mapOneByOne(input, serialize),
  );
  const pages = watch.wrap({ name: "chunk", takes: "records", gives: "pages" }, records, (input) =>
    chunk(input, lease),
  );
  const sealed = watch.wrap({ name: "seal", takes: "pages", gives: "sealed" }, pages, (input) =>
    mapOneByOne(input, (page: Page) => seal(page, sleep)),
  );
  const durable = watch.wrap(
    { name: "spool", takes: "sealed", gives: "durable" },
    sealed,
    (input) => mapOneByOne(input, (sealed: SealedPage) => spool(sealed, sleep)),
  );
  const receipts = watch.wrap(
    { name: "upload", takes: "durable", gives: "receipts" },
    durable,
    (input) => mapOneByOne(input, upload(uploads, sleep)),
  );
  for await (const receipt of receipts) void receipt;
  return traceparents;
}

async function* nothing(): AsyncGenerator<never> {}

async function* source(pages: number, sleep: Sleep): AsyncGenerator<RowBatch> {
  for (let page = 0; page < pages; page += 1) {
    await sleep(1);
    const rows = Array.from({ length: rowsAPage }, (_, row) => [String(row)]);
    yield { shape: "tuples", columns: [], rows, bytes: rowsAPage * 200 };
  }
}

async function* mapOneByOne(input: AsyncIterable<unknown>, map: (item: never) => unknown) {
  // oxlint-disable-next-line typescript/no-unsafe-type-assertion
  for await (const item of input) yield await map(item as never);
}

function serialize({ rows }: RowBatch): RecordBatch {
  return {
    bytes: new Uint8Array(rows.length * recordBytes),
    ends: rows.map((_, row) => (row + 1) * recordBytes),
    framing: false,
    columns: [],
    extension: "ndjson",
  };
}

async function* chunk(input: AsyncIterable<unknown>, lease: Lease): AsyncGenerator<Page> {
  let page = 0;
  for await (const item of input) {
    // oxlint-disable-next-line typescript/no-unsafe-type-assertion
    const batch = item as RecordBatch;
    const leased = await lease.take(4096, 4096, AbortSignal.timeout(5000));
    leased.bytes.set(batch.bytes);
    yield {
      ...identityOf(page, batch),
      content: leased.bytes.subarray(0, batch.bytes.length),
      digest: new Uint8Array(32),
      extension: batch.extension,
      release: () => leased.release(),
    };
    page += 1;
  }
}

function identityOf(page: number, batch: RecordBatch): PageIdentity {
  const { length } = batch.ends;
  return {
    page,
    records: length,
    total: (page + 1) * length,
    span: "whole",
    bytes: batch.bytes.length,
    chain: "",
    final: false,
  };
}

async function seal(page: Page, sleep: Sleep): Promise<SealedPage> {
  // As the worker tells it: to the microsecond, so that nothing is lost to rounding.
  const now = () => performance.timeOrigin + performance.now();
  const startMillis = now();
  await sleep(3);
  const content = page.content.slice(0, page.content.length / 2);
  page.release();
  const work = { startMillis, endMillis: now() };
  return { ...page, content, sealedDigest: new Uint8Array(32), work };
}

async function spool(sealed: SealedPage, sleep: Sleep): Promise<DurablePage> {
  await sleep(2);
  return {
    page: sealed.page,
    records: sealed.records,
    total: sealed.total,
    span: sealed.span,
    bytes: sealed.bytes,
    final: sealed.final,
    name: `${sealed.page}`,
    sealedBytes: sealed.content.length,
    sealedDigest: sealed.sealedDigest,
  };
}

const upload =
  (uploads: (page: DurablePage) => void, sleep: Sleep) =>
  async (page: DurablePage): Promise<Receipt> => {
    await sleep(2);
    uploads(page);
    return page;
  };

function sleepMillis(millis: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, millis));
}

/** Pages in leased memory, and the folders they go to, for the tests of what handles pages. */
import { hash } from "node:crypto";
import { mkdir } from "node:fs/promises";
import { createLease } from "../../../src/stages/lease.ts";
import type { Page, SealedPage } from "../../../src/stages/nouns.ts";
import { nextChain, pageWeight } from "../../../src/stages/pages/chunk.ts";
import { openSpool, type Spool, type SpoolOptions } from "../../../src/stages/pages/spool-store.ts";
import type { StageContext } from "../../../src/stages/stage.ts";
import { sourceEnd } from "../../fixtures/pipelines.ts";

export const pageBytes = 4096;
export const never = new AbortController().signal;
export const spoolKey = Buffer.alloc(32, 7);

export const contentOf = (page: number): string => `{"page":${page}}\n`.repeat(50);

/** `count` pages of 50 records, the last one final, each on the lease. */
export async function* leasedPages(
  count: number,
  { lease, signal }: Pick<StageContext, "lease" | "signal">,
): AsyncGenerator<Page> {
  let chain: Uint8Array = new Uint8Array(32);
  for (let page = 0; page < count; page += 1) {
    const leased = await lease.take(pageBytes, pageWeight(pageBytes), signal);
    const bytes = Buffer.from(contentOf(page));
    leased.bytes.set(bytes);
    const digest = hash("sha256", bytes, "buffer");
    chain = nextChain(chain, digest);
    const final = page === count - 1;
    yield {
      page,
      records: 50,
      total: 50 * (page + 1),
      span: "whole",
      bytes: bytes.length,
      chain: Buffer.from(chain).toString("hex"),
      final,
      content: leased.bytes.subarray(0, bytes.length),
      digest,
      extension: "ndjson",
      ...(final && { facts: { columns: [], end: sourceEnd(50 * count) } }),
      release: () => leased.release(),
    };
  }
}

/** The same pages as if sealed: what is stored is what they hold. */
export async function* sealedPages(
  count: number,
  context: Pick<StageContext, "lease" | "signal">,
  first = 0,
): AsyncGenerator<SealedPage> {
  for await (const page of leasedPages(count, context)) {
    if (page.page < first) page.release();
    else yield { ...page, sealedDigest: page.digest, extension: "ndjson.zst.age" };
  }
}

/** Sealed pages one by one, without a lease to mind. */
export async function makeSealed(count: number): Promise<SealedPage[]> {
  const lease = createLease(count * pageWeight(pageBytes));
  return Array.fromAsync(sealedPages(count, { lease, signal: never }));
}

/** Without a policy of its own, a page is durable before the next one is taken. */
export async function openTestSpool(
  folder: string,
  more: Partial<SpoolOptions> = {},
): Promise<Spool> {
  await mkdir(folder, { recursive: true, mode: 0o700 });
  return openSpool({
    folder,
    maxBytes: 2 ** 30,
    fullTimeoutMillis: 5000,
    key: spoolKey,
    bufferBytes: 2 ** 18,
    policy: { threshold: 0, writer: "inline" },
    ...more,
  });
}

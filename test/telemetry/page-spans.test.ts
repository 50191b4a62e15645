import assert from "node:assert/strict";
import { setTimeout as sleep } from "node:timers/promises";
import { ROOT_CONTEXT, type Tracer } from "@opentelemetry/api";
import type { Kind } from "../../src/stages/nouns.ts";
import { createPageSpans } from "../../src/telemetry/page-spans.ts";

const info = (name: string, takes: Kind, gives: Kind) => ({ name, takes, gives });
const chunk = info("chunk", "records", "pages");
const compress = info("compress", "pages", "pages");
const seal = info("seal", "pages", "sealed");
const spool = info("spool", "sealed", "durable");
const upload = info("upload", "durable", "receipts");

/** Counts spans that are open; nothing else of a tracer is asked for here. */
function countingTracer() {
  const tally = { open: 0, most: 0, names: [] as string[], starts: [] as number[] };
  const startSpan = (name: string, { startTime }: { startTime: number }) => {
    tally.starts.push(startTime);
    tally.open += 1;
    tally.most = Math.max(tally.most, tally.open);
    tally.names.push(name);
    return {
      setAttribute: () => undefined,
      setStatus: () => undefined,
      end: () => void (tally.open -= 1),
      spanContext: () => ({ traceId: "1".repeat(32), spanId: "2".repeat(16), traceFlags: 1 }),
    };
  };
  return { tally, tracer: { startSpan } as unknown as Tracer };
}

const page = (number: number) => ({ page: number, records: 1, bytes: 1, sealedBytes: 1 });

describe("page-spans", () => {
  it("follows a bounded number of pages, however many wait, and counts the rest", () => {
    const { tally, tracer } = countingTracer();
    const pages = createPageSpans(tracer, ROOT_CONTEXT);
    for (let number = 0; number < 5000; number += 1) {
      pages.took(seal, page(number));
      pages.took(spool, page(number));
    }
    assert.equal(tally.most, 0, "spans are made at the end of a journey");
    assert.equal(pages.cutShort, 5000 - 1024);
    for (let number = 0; number < 5000; number += 1) {
      pages.gave(spool, page(number));
      pages.took(upload, page(number));
      pages.gave(upload, page(number));
    }
    assert.deepEqual([tally.open, tally.most], [0, 2]);
    const count = (wanted: string) => tally.names.filter((name) => name === wanted).length;
    assert.deepEqual(["page", "spool", "upload"].map(count), [5000, 1024, 5000]);
  });

  it("follows no page from the spool on that was one too many when it was sealed", () => {
    const { tally, tracer } = countingTracer();
    const pages = createPageSpans(tracer, ROOT_CONTEXT);
    for (let number = 0; number <= 1024; number += 1) pages.took(seal, page(number));
    for (const number of [0, 1024]) {
      pages.took(spool, page(number));
      pages.took(upload, page(number));
      pages.gave(upload, page(number));
    }
    assert.equal(pages.cutShort, 1);
    assert.deepEqual(tally.names, ["page", "spool", "upload", "page", "upload"]);
  });

  it("let a page begin where it was made, unless many were made or sealed since", async () => {
    const { tally, tracer } = countingTracer();
    const pages = createPageSpans(tracer, ROOT_CONTEXT);
    for (let number = 0; number < 2000; number += 1) pages.gave(chunk, page(number));
    pages.gave(compress, page(0));
    await sleep(30);
    for (const number of [0, 1500, 1400, 1999]) pages.took(seal, page(number));
    // Its worker told no times.
    pages.gave(seal, page(1500));
    // Dropped before it was sealed.
    pages.gave(spool, page(1));
    pages.abort();
    assert.equal(tally.open, 0);
    assert.deepEqual([...new Set(tally.names)], ["page"]);
    const [forgotten, kept, passed, last] = tally.starts as [number, number, number, number];
    assert.ok(kept < forgotten - 10 && last < forgotten - 10, tally.starts.join());
    assert.ok(passed > kept + 10, tally.starts.join());
  });
});

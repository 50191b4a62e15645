/**
 * When should the spool clean its buffer, and how? One page at a time, coarsely (inline or by a background writer), or
 * not at all until the end, over sizes of pages and over thresholds. The spool is the real one; its pages are synthetic.
 *
 *   node bench/spool.ts [--mib 48] [--runs 3] [--dir FOLDER]
 *
 * Speed counts from the first page to the last one durable. A stall is what whoever stores a page waits before the next.
 * All policies take turns; medians of the runs; ratios within this run only.
 */
import { hash, randomBytes } from "node:crypto";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { parseArgs } from "node:util";
import type { SealedPage } from "../src/stages/nouns.ts";
import { sealedMost } from "../src/stages/pages/chunk.ts";
import { bufferBytes, type FlushPolicy } from "../src/stages/pages/spool-flush.ts";
import { openSpool } from "../src/stages/pages/spool-store.ts";

const KiB = 1024;
const MiB = 1024 * KiB;
/** What a page of 1 MiB of records is, sealed. */
const usualBytes = 160 * KiB;
const sizes = [4 * KiB, 16 * KiB, 64 * KiB, usualBytes, 256 * KiB, MiB, 4 * MiB];
const thresholds = [0.2, 0.4, 0.6, 0.8, 1];
/** Small pages are many: so many of them show what there is to see. */
const pagesMost = 2000;

interface Contender {
  readonly name: string;
  readonly policy: FlushPolicy;
  /** The buffer holds everything, and is flushed once at the end. */
  readonly unbounded?: boolean;
}

const oneAtATime: Contender = { name: "one", policy: { threshold: 0, writer: "inline" } };
const coarse = (writer: FlushPolicy["writer"], threshold = 0.8): Contender => ({
  name: `${writer} ${threshold}`,
  policy: { threshold, writer },
});
const unbounded: Contender = {
  name: "unbounded",
  policy: { threshold: 1, writer: "background" },
  unbounded: true,
};

interface Measured {
  readonly mebibytesPerSecond: number;
  readonly cpuMicrosPerPage: number;
  readonly pagesPerFlush: number;
  readonly stallMillis: Spread;
  readonly durableMillis: Spread;
}

interface Spread {
  readonly p50: number;
  readonly p99: number;
  readonly max: number;
}

async function measure(contender: Contender, folder: string, pageBytes: number, count: number) {
  const allBytes = count * (pageBytes + 4 * KiB);
  const usual = bufferBytes(Math.max(pageBytes + 4 * KiB, sealedMost(MiB)));
  const spool = await openSpool({
    folder,
    maxBytes: 2 ** 40,
    fullTimeoutMillis: 60_000,
    key: randomBytes(32),
    bufferBytes: contender.unbounded ? allBytes + MiB : usual,
    policy: contender.policy,
  });
  const pages = makePages(pageBytes, count);
  const { signal } = new AbortController();
  const stalls: number[] = [];
  const waits: number[] = [];
  const before = process.cpuUsage();
  const started = performance.now();
  for (const page of pages) {
    const asked = performance.now();
    const { taken, durable } = spool.store(page, signal);
    void durable.then(() => waits.push(performance.now() - asked));
    await taken;
    stalls.push(performance.now() - asked);
  }
  await spool.flush();
  const seconds = (performance.now() - started) / 1000;
  const { user, system } = process.cpuUsage(before);
  if (spool.durable !== count) throw new Error(`${spool.durable} of ${count} pages are durable`);
  const { flushes } = spool;
  await spool.close();
  return {
    mebibytesPerSecond: (count * pageBytes) / MiB / seconds,
    cpuMicrosPerPage: (user + system) / count,
    pagesPerFlush: count / flushes,
    stallMillis: spread(stalls),
    durableMillis: spread(waits),
  } satisfies Measured;
}

/** All pages hold the same bytes: the spool looks at none of them. */
function* makePages(pageBytes: number, count: number): Generator<SealedPage> {
  const content = randomBytes(pageBytes);
  const digest = hash("sha256", content, "buffer");
  for (let page = 0; page < count; page += 1) {
    yield {
      page,
      records: 1,
      total: page + 1,
      span: "whole",
      bytes: pageBytes,
      final: false,
      chain: "00".repeat(32),
      content,
      digest,
      sealedDigest: digest,
      extension: "ndjson.zst.age",
      release: () => {},
    };
  }
}

function spread(values: readonly number[]): Spread {
  const sorted = values.toSorted((a, b) => a - b);
  const at = (share: number) => sorted[Math.floor(share * (sorted.length - 1))]!;
  return { p50: at(0.5), p99: at(0.99), max: at(1) };
}

/** The contenders in turns, each run in a folder of its own; the first round warms up and is not counted. */
async function compare(contenders: readonly Contender[], pageBytes: number, runs: number) {
  const count = Math.min(pagesMost, Math.floor((Number(values.mib) * MiB) / pageBytes));
  const results = new Map<string, Measured[]>(contenders.map(({ name }) => [name, []]));
  for (let run = 0; run <= runs; run += 1) {
    for (const contender of contenders) {
      const folder = await mkdtemp(join(values.dir, "spillway-bench-spool-"));
      try {
        const measured = await measure(contender, folder, pageBytes, count);
        if (run > 0) results.get(contender.name)!.push(measured);
      } finally {
        await rm(folder, { recursive: true });
      }
    }
  }
  return results;
}

function median(values: readonly number[]): number {
  return values.toSorted((a, b) => a - b)[values.length >> 1]!;
}

function rowsOf(pageBytes: number, results: ReadonlyMap<string, readonly Measured[]>): string[][] {
  const speedOf = (measured: readonly Measured[] = []) =>
    median(measured.map(({ mebibytesPerSecond }) => mebibytesPerSecond));
  const limit = speedOf(results.get(unbounded.name));
  const slowest = speedOf(results.get(oneAtATime.name));
  return [...results].map(([name, measured]) => {
    const of = (pick: (one: Measured) => number, digits = 0) =>
      median(measured.map(pick)).toFixed(digits);
    const spreadOf = (pick: (one: Measured) => Spread) =>
      [(s: Spread) => s.p50, (s: Spread) => s.p99, (s: Spread) => s.max]
        .map((part) => of((one) => part(pick(one)), 1))
        .join(" / ");
    return [
      pageBytes < MiB ? `${pageBytes / KiB} KiB` : `${pageBytes / MiB} MiB`,
      name,
      speedOf(measured).toFixed(0),
      (speedOf(measured) / slowest).toFixed(2),
      (speedOf(measured) / limit).toFixed(2),
      of(({ cpuMicrosPerPage }) => cpuMicrosPerPage),
      of(({ pagesPerFlush }) => pagesPerFlush, 1),
      spreadOf(({ stallMillis }) => stallMillis),
      spreadOf(({ durableMillis }) => durableMillis),
    ];
  });
}

const head = [
  "page",
  "policy",
  "MiB/s",
  "× one",
  "× unbounded",
  "CPU µs a page",
  "pages a flush",
  "stall ms p50 / p99 / max",
  "durable after ms p50 / p99 / max",
];

function print(title: string, rows: readonly (readonly string[])[]): void {
  const line = (cells: readonly string[]) => `| ${cells.join(" | ")} |`;
  console.log(`\n${title}\n\n${line(head)}\n${line(head.map(() => "---"))}`);
  for (const row of rows) console.log(line(row));
}

const { values } = parseArgs({
  options: {
    mib: { type: "string", default: "48" },
    runs: { type: "string", default: "3" },
    dir: { type: "string", default: tmpdir() },
  },
});
const runs = Number(values.runs);
const policies = [oneAtATime, coarse("inline"), coarse("background"), unbounded];
const bySize = [];
for (const size of sizes) bySize.push(...rowsOf(size, await compare(policies, size, runs)));
print("Policies over sizes of pages, threshold 0.8", bySize);
const written = thresholds.flatMap((threshold) =>
  (["inline", "background"] as const).map((writer) => coarse(writer, threshold)),
);
const contenders = [oneAtATime, ...written, unbounded];
print(
  "Thresholds, pages of the usual size",
  rowsOf(usualBytes, await compare(contenders, usualBytes, runs)),
);

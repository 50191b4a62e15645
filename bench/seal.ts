/**
 * What does it cost to seal one page, in the main thread and in the worker, against what the machine can do at most?
 *
 *   node bench/seal.ts [--pages 64] [--rounds 9]
 *
 * Needs no server and no disk. Figures are CPU milliseconds (user and system) for one page of 1 MiB of records, medians of
 * the rounds, in a process with the flags of `spillway run`. The limit of a part is the same bytes through one call each.
 */
import { execFileSync } from "node:child_process";
import { createCipheriv, createDecipheriv, createHash, hash, randomBytes } from "node:crypto";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";
import { constants, zstdCompressSync, zstdDecompressSync } from "node:zlib";
import { createLease } from "../src/stages/lease.ts";
import type { Page, RecordBatch } from "../src/stages/nouns.ts";
import { chunk, pageWeight } from "../src/stages/pages/chunk.ts";
import { sealPages } from "../src/stages/pages/seal-pages.ts";
import type { StageContext } from "../src/stages/stage.ts";
import {
  ageBodyHolds,
  generateAgeIdentity,
  identityToRecipient,
  sealAge,
} from "../src/workers/age.ts";
import { encodeFrame, frameHolds } from "../src/workers/frame.ts";
import { freeBuffer, freeZlibOutput } from "../src/workers/free.ts";
import { createPool } from "../src/workers/pool.ts";
import { leanEnv, leanFlags } from "./lean.ts";
import { median } from "./measure.ts";

const pageBytes = 2 ** 20;
const run = "20260102T030405678Z-1f2e3d4c";
const signal = new AbortController().signal;
const { values } = parseArgs({
  options: {
    pages: { type: "string", default: "64" },
    rounds: { type: "string", default: "9" },
    inside: { type: "boolean", default: false },
  },
});
const pageCount = Number(values.pages);
const rounds = Number(values.rounds);

/** Laboratory results as NDJSON, like the table of `bench/tables.ts`, in batches of 64 KiB or a little more. */
function makeBatches(totalBytes: number): RecordBatch[] {
  const batches: RecordBatch[] = [];
  for (let id = 1, made = 0; made < totalBytes;) {
    const records: Buffer[] = [];
    const ends: number[] = [];
    for (let bytes = 0; bytes < 65_536; id += 1) {
      const record = Buffer.from(`${JSON.stringify(resultOf(id))}\n`);
      records.push(record);
      bytes += record.length;
      ends.push(bytes);
    }
    const bytes = Buffer.concat(records);
    made += bytes.length;
    batches.push({ bytes, ends, framing: false, columns: [], extension: "ndjson" });
  }
  const end = { rows: 0, consistency: { class: "stream", proof: {} }, queryDigest: "" } as const;
  return batches.map((batch, at) => (at === batches.length - 1 ? { ...batch, end } : batch));
}

function resultOf(id: number): object {
  const md5 = createHash("md5").update(String(id)).digest("hex");
  const effective = new Date(Date.UTC(2024, 0, 1) + id * 1000).toISOString();
  return {
    id,
    patient: md5.replace(/^(.{8})(.{4})(.{4})(.{4})/, "$1-$2-$3-$4-"),
    effective: effective.replace("000Z", `${String(id % 1e6).padStart(6, "0")}+00:00`),
    sequence: id % 1000,
    value: Math.round((id / 7) * 1e4) / 1e4,
    unit: "mmol/L",
    code: `29463-${id % 10}`,
    note: id % 3 === 0 ? null : `Größe "${id}" \\ `.repeat(1 + (id % 4)),
    payload: { n: id, status: "final" },
  };
}

async function* stream<Item>(items: Iterable<Item>): AsyncGenerator<Item> {
  yield* items;
}

const openChunk = (batches: readonly RecordBatch[], leasedPages: number) => {
  const lease = createLease(leasedPages * pageWeight(pageBytes));
  return chunk.open({ size: pageBytes }, { lease, signal } as StageContext, stream(batches));
};

const millisOf = ({ user, system }: NodeJS.CpuUsage) => (user + system) / 1000;

/** CPU milliseconds of this thread for one of `count` pages. The first round warms up and is not counted. */
async function cost(count: number, round: () => unknown): Promise<number> {
  const found: number[] = [];
  for (let at = 0; at <= rounds; at += 1) {
    const before = process.threadCpuUsage();
    await round();
    found.push(millisOf(process.threadCpuUsage(before)) / count);
  }
  return median(found.slice(1));
}

/** The same bytes through one call each: nobody does it for less. */
async function limits(contents: readonly Uint8Array[]) {
  const params = { [constants.ZSTD_c_compressionLevel]: 1, [constants.ZSTD_c_checksumFlag]: 1 };
  const options = { params, chunkSize: pageBytes + 8192 };
  const frames = contents.map((content) => Buffer.from(zstdCompressSync(content, options)));
  const copies = contents.map((content) => Buffer.from(content));
  const target = Buffer.alloc(pageBytes);
  const cipher = [randomBytes(32), randomBytes(12), { authTagLength: 16 }] as const;
  const each = (work: (content: Uint8Array, at: number) => void) =>
    cost(contents.length, () => {
      for (const [at, content] of contents.entries()) work(content, at);
    });
  return {
    copy: await each((_, at) => target.set(copies[at]!)),
    compare: await each((content, at) => void Buffer.compare(content, copies[at]!)),
    digest: await each((content) => void hash("sha256", content, "buffer")),
    compress: await each((content) => freeZlibOutput(zstdCompressSync(content, options))),
    decompress: await each((_, at) =>
      freeZlibOutput(zstdDecompressSync(frames[at]!, { chunkSize: pageBytes + 64 })),
    ),
    sealedDigest: await each((_, at) => void hash("sha256", frames[at]!, "buffer")),
    encrypt: await each((_, at) =>
      freeBuffer(createCipheriv("chacha20-poly1305", ...cipher).update(frames[at]!)),
    ),
    decrypt: await each((_, at) =>
      freeBuffer(createDecipheriv("chacha20-poly1305", ...cipher).update(frames[at]!)),
    ),
  };
}

/** The worker's work, part by part, in this thread. */
async function parts(pages: readonly Page[], recipient: string) {
  const frameOf = (page: Page) => encodeFrame(page.content, { ...page, run }, "zstd", 1);
  const frames = pages.map(frameOf);
  const sealed = await Promise.all(frames.map((frame) => sealAge(frame, { to: [recipient] })));
  const each = (work: (page: Page, at: number) => void) =>
    cost(pages.length, () => {
      for (const [at, page] of pages.entries()) work(page, at);
    });
  return {
    frame: await each((page) => freeBuffer(frameOf(page))),
    checkFrame: await each(({ content }, at) => void frameHolds(content, frames[at]!, "zstd")),
    seal: await cost(pages.length, async () => {
      for (const frame of frames) freeBuffer((await sealAge(frame, { to: [recipient] })).sealed);
    }),
    checkSeal: await each((_, at) => {
      const { sealed: bytes, headerBytes, fileKey } = sealed[at]!;
      ageBodyHolds(frames[at]!, bytes, headerBytes, fileKey);
    }),
    digest: await each((_, at) => void hash("sha256", sealed[at]!.sealed, "buffer")),
  };
}

/** Pages through the real pool, as the stage sends them: CPU of this thread, and of all the others. */
async function throughPool(pages: readonly Page[], recipient: string) {
  const pool = createPool(1);
  const ctx = { pool, signal, run: { id: run } } as StageContext;
  const work = { compress: { codec: "zstd", level: 1 }, encrypt: { to: [recipient] } } as const;
  const others: number[] = [];
  const main = await cost(pages.length, async () => {
    const [all, mine] = [process.cpuUsage(), process.threadCpuUsage()];
    for await (const sealed of sealPages(work, ctx, stream(pages))) sealed.release();
    const elsewhere = millisOf(process.cpuUsage(all)) - millisOf(process.threadCpuUsage(mine));
    others.push(elsewhere / pages.length);
  });
  await pool.close();
  return { main, worker: median(others.slice(1)) };
}

async function measureAll(): Promise<void> {
  const batches = makeBatches(pageCount * pageBytes);
  // The last page is only partly full.
  const pages = (await Array.fromAsync(openChunk(batches, pageCount + 2)))
    .slice(0, -1)
    .map((page) => ({ ...page, release() {} }));
  const recipient = await identityToRecipient(await generateAgeIdentity());
  const limit = await limits(pages.map(({ content }) => content));
  const part = await parts(pages, recipient);
  const fill = await cost(pages.length, async () => {
    for await (const page of openChunk(batches, 2)) page.release();
  });
  const pool = await throughPool(pages, recipient);
  const checks = limit.decompress + limit.compare + limit.decrypt;
  const least = limit.compress + limit.encrypt + limit.sealedDigest + checks;
  const line = (name: string, millis: number, most?: number) =>
    process.stdout.write(
      `| ${name} | ${millis.toFixed(2)} | ${most === undefined ? "" : most.toFixed(2)} | ${most === undefined ? "" : `${(millis / most).toFixed(2)} ×`} |\n`,
    );
  process.stdout.write("| CPU ms a page | ours | limit | ours / limit |\n");
  process.stdout.write("| --- | --- | --- | --- |\n");
  line("main: copy records, SHA-256", fill, limit.copy + limit.digest);
  line("main: hand over and take back", pool.main);
  line("frame: zstd -1", part.frame, limit.compress);
  line("check: zstd -d, compare", part.checkFrame, limit.decompress + limit.compare);
  line("age: header, ChaCha20-Poly1305", part.seal, limit.encrypt);
  line("check: open, compare", part.checkSeal, limit.decrypt);
  line("SHA-256 of what is stored", part.digest, limit.sealedDigest);
  line("worker: all of it, through the pool", pool.worker, least);
}

if (values.inside) await measureAll();
else {
  const program = fileURLToPath(import.meta.url);
  execFileSync(process.execPath, [...leanFlags, program, ...process.argv.slice(2), "--inside"], {
    stdio: "inherit",
    env: { ...leanEnv, ...process.env },
  });
}

/**
 * Pages that open for their reader and inflate to far more than they may: refused, and within bounds of memory. Each is
 * opened by a process of its own, which tells what became of it and how much it grew.
 */
import { execFile } from "node:child_process";
import { promisify } from "node:util";
import { createDeflateRaw } from "node:zlib";
import { peakRssBytes } from "../../src/telemetry/peak-memory.ts";
import { sealAge } from "../../src/workers/age.ts";
import { encodeFrame, encodeIdentity, maxPageBytes, type Codec } from "../../src/workers/frame.ts";
import { openPage } from "../../src/workers/open.ts";
import { createKey } from "../../test/fixtures/keys.ts";
import type { Tally } from "./damage.ts";

const gibibyte = 2 ** 30;
/** What opening any page may take beside what it states to hold: buffers of the libraries, and the bomb itself. */
const spareBytes = 64 * 2 ** 20;

interface Bomb {
  readonly compress: Codec;
  /** What the page's identity states. */
  readonly statedBytes: number;
  readonly frame: () => Promise<Buffer> | Buffer;
}

const bombs: Readonly<Record<string, Bomb>> = {
  "zstd that states what it holds": zstdBomb(2 * gibibyte, 2 * gibibyte),
  "zstd that states little": zstdBomb(1000, 2 * gibibyte),
  "zstd that states the most": zstdBomb(maxPageBytes, 2 * gibibyte),
  "zstd with a huge window": zstdBomb(1000, 1000, 2 ** 31),
  "gzip that states little": gzipBomb(1000),
  "gzip that states what it holds": gzipBomb(gibibyte),
};

/** A frame of run-length blocks: four bytes for 128 KiB each. */
function zstdBomb(statedBytes: number, bytes: number, windowBytes?: number): Bomb {
  const frame = () => {
    // Content size in eight bytes, a checksum; a window of its own, or as large as the content.
    const head = Buffer.alloc(14);
    head.writeUInt32LE(0xfd2fb528);
    head[4] = windowBytes ? 0b1100_0100 : 0b1110_0100;
    head[5] = windowBytes ? (Math.log2(windowBytes) - 10) << 3 : 0;
    head.writeBigUInt64LE(BigInt(statedBytes), windowBytes ? 6 : 5);
    const blockBytes = 2 ** 17;
    const blocks = Array.from({ length: Math.ceil(bytes / blockBytes) }, (_, i) => {
      const size = Math.min(blockBytes, bytes - i * blockBytes);
      const last = (i + 1) * blockBytes >= bytes ? 1 : 0;
      const block = Buffer.alloc(4);
      block.writeUIntLE((size << 3) | 0b10 | last, 0, 3);
      return block;
    });
    const end = Buffer.alloc(4);
    return Buffer.concat([head.subarray(0, windowBytes ? 14 : 13), ...blocks, end]);
  };
  return { compress: "zstd", statedBytes, frame };
}

function gzipBomb(statedBytes: number): Bomb {
  const frame = async () => {
    const deflate = createDeflateRaw({ level: 1 });
    const zeros = Buffer.alloc(2 ** 20);
    const pieces: Buffer[] = [];
    deflate.on("data", (piece: Buffer) => pieces.push(piece));
    for (let i = 0; i < 256; i += 1)
      await new Promise<void>((resolve) => deflate.write(zeros, () => resolve()));
    await new Promise<void>((resolve) => deflate.end(resolve));
    return Buffer.concat([...pieces, Buffer.alloc(8)]);
  };
  return { compress: "gzip", statedBytes, frame };
}

/** The frame behind the identity that a page of nothing has, with another size in it. */
async function pageOf({ compress, statedBytes, frame }: Bomb): Promise<Buffer> {
  const chain = "0".repeat(64);
  const counts = { page: 0, records: 1, total: 1, bytes: statedBytes };
  const identity = { run: "r", ...counts, span: "whole", chain, final: true } as const;
  const empty = Buffer.from(encodeFrame(new Uint8Array(0), identity, compress, 1));
  const text = encodeIdentity(identity);
  return Buffer.concat([empty.subarray(0, empty.indexOf(text) + text.length), await frame()]);
}

/** Opens a page; how it ended, and how many bytes this process grew by. */
async function open(
  name: string,
): Promise<{ readonly outcome: string; readonly grownBytes: number }> {
  const { identity, recipient } = await createKey();
  const bomb = bombs[name]!;
  const { sealed } = await sealAge(await pageOf(bomb), { to: [recipient] });
  const how = {
    compress: bomb.compress,
    encrypt: "age",
    identities: { identities: [identity] },
    maxBytes: maxPageBytes,
  } as const;
  const before = peakRssBytes();
  const outcome = await openPage(sealed, how).then(
    () => "opens",
    (error: { code?: string }) => error.code ?? "an unexpected error",
  );
  return { outcome, grownBytes: peakRssBytes() - before };
}

export async function proveBombs(): Promise<Tally> {
  const failures: string[] = [];
  for (const [name, { statedBytes }] of Object.entries(bombs)) {
    const file = import.meta.filename;
    const { stdout } = await promisify(execFile)(process.execPath, [file, name]);
    const { outcome, grownBytes } = JSON.parse(stdout) as Awaited<ReturnType<typeof open>>;
    if (outcome !== "integrity-failed") failures.push(`${name}: ${outcome}`);
    // A page may hold what it states, up to the most of any page.
    const allowed = spareBytes + (statedBytes <= maxPageBytes ? statedBytes : 0);
    if (grownBytes > allowed) failures.push(`${name}: takes ${grownBytes} bytes`);
  }
  return { trials: Object.keys(bombs).length, failures };
}

if (import.meta.main) process.stdout.write(JSON.stringify(await open(process.argv[2]!)));

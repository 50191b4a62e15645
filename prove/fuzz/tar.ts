/** Fuzzed: tar archives as sources, and the bundle that destination `tar:` reads back. */
import assert from "node:assert/strict";
import type { FileHandle } from "node:fs/promises";
import { gzipSync } from "node:zlib";
import { type Header, pack } from "tar-stream";
import { entryPieces, endOfArchive, readEntry } from "../../src/stages/destinations/tar-entry.ts";
import { readEntries } from "../../src/stages/sources/tar-archive.ts";
import { type Chance, cut, mutate, type Seeds, wordsOf } from "./chance.ts";
import type { FuzzClass } from "./fuzz-class.ts";

const blockBytes = 512;
const checksumAt = 148;
const checksumBytes = 8;

const entries: readonly (Partial<Header> & { readonly name: string; readonly body?: string })[] = [
  { name: "a.ndjson", body: '{"id":1}\n' },
  { name: "data/", type: "directory" },
  { name: `${"long/".repeat(40)}name`, body: "x".repeat(700) },
  { name: "größe.txt", body: "", pax: { comment: "c", mtime: "1.5" } },
  { name: "link", type: "symlink", linkname: "../../etc/passwd" },
  { name: "zeros", body: "\0".repeat(1024) },
];

async function archiveOf(some: typeof entries): Promise<Buffer> {
  const archive = pack();
  for (const { body, ...header } of some)
    archive.entry({ mtime: new Date(0), ...header }, body ?? "");
  archive.finalize();
  return Buffer.concat(await Array.fromAsync(archive as AsyncIterable<Buffer>));
}

const tarWords = [
  "ustar\x0000",
  "ustar  \0",
  "././@LongLink",
  "00000000001\0",
  "77777777777\0",
  "../",
  "/",
  "\\",
  ...wordsOf(
    "11 path=x\n·20 size=99999999999\n·9 size=-1\n·30 GNU.sparse.major=1\n·0·1·5·g·x·L·K·S",
  ),
  Buffer.from([0x80, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 9]),
  Buffer.alloc(12, 0xff),
  Buffer.from("fffffffffffffffffffff800", "hex"),
  Buffer.alloc(512),
];

/** Makes the checksum of every header right again, so that what else is wrong is looked at. */
function mendChecksums(bytes: Buffer): Buffer {
  for (let at = 0; at + blockBytes <= bytes.length; at += blockBytes) {
    const block = bytes.subarray(at, at + blockBytes);
    if (block.toString("latin1", 257, 262) !== "ustar") continue;
    block.fill(" ", checksumAt, checksumAt + checksumBytes);
    const sum = block.reduce((all, byte) => all + byte, 0);
    block.write(`${sum.toString(8).padStart(6, "0")}\0 `, checksumAt, "latin1");
  }
  return bytes;
}

const makeFrom = (seeds: Seeds) => (chance: Chance) => {
  const bytes = mutate(chance, seeds);
  if (chance.once(2)) mendChecksums(bytes);
  return bytes;
};

export async function tarFiles(): Promise<FuzzClass> {
  const plain = [entries, entries.slice(0, 1), entries.slice(2, 3), []].map(archiveOf);
  const whole = await Promise.all(plain);
  const seeds = { whole, words: tarWords };
  const make = makeFrom(seeds);
  const zipped = { whole: whole.map((bytes) => gzipSync(bytes)), words: tarWords };
  return {
    seeds,
    make(chance) {
      if (chance.once(10)) return mutate(chance, zipped);
      const bytes = make(chance);
      return chance.once(10) ? gzipSync(bytes) : bytes;
    },
    async run(bytes, chance) {
      async function* feed() {
        yield* chance.once(2) ? cut(bytes, chance) : [bytes];
      }
      let content = 0;
      for await (const entry of readEntries(feed(), "archive")) {
        assert.equal(typeof entry.header.name, "string");
        if (chance.once(4)) continue;
        let length = 0;
        for await (const chunk of entry.bytes) length += chunk.length;
        if (entry.header.type === "file") assert.equal(length, entry.header.size);
        content += length;
      }
      // What is read comes from somewhere: from the archive, or from what its gzip unpacks to.
      if (bytes[0] !== 0x1f) assert.ok(content <= bytes.length);
    },
  };
}

/** As much of a file as is read of. */
const handleOn = (bytes: Buffer) =>
  ({
    read: (into: Buffer, offset: number, length: number, position: number) =>
      Promise.resolve({ bytesRead: bytes.copy(into, offset, position, position + length) }),
  }) as unknown as FileHandle;

export async function bundles(): Promise<FuzzClass> {
  const objects = [
    { name: "p/r/00000000.ndjson.zst.age", bytes: Buffer.from("sealed") },
    { name: `p/${"n".repeat(120)}/x`, bytes: Buffer.alloc(600, 7) },
    { name: "p/é/manifest.json", bytes: Buffer.alloc(0) },
  ];
  const pieces: Uint8Array[] = [];
  for (const object of objects)
    pieces.push(
      ...(await Array.fromAsync(entryPieces({ ...object, sha256: Buffer.alloc(32, 9) }))),
    );
  const seeds = { whole: [Buffer.concat([...pieces, endOfArchive])], words: tarWords };
  return {
    seeds,
    make: makeFrom(seeds),
    async run(bytes) {
      for (let at = 0; at < bytes.length;) {
        const entry = await readEntry(handleOn(bytes), at, bytes.length);
        if (!entry) break;
        assert.ok(Number.isSafeInteger(entry.next) && entry.next > at, "it goes on");
        assert.ok(entry.bytes >= 0 && entry.start > at);
        at = entry.next;
      }
    },
  };
}

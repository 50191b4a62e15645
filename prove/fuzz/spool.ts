/** Fuzzed: what a spool finds when it is opened, whoever wrote it. */
import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import { existsSync } from "node:fs";
import { mkdir, mkdtemp, readdir, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { openRunFolder } from "../../src/pipeline/run-folder.ts";
import {
  type Checkpoint,
  decodeLine,
  decodeTrailer,
  encodeLine,
  encodeTrailer,
  pageName,
} from "../../src/stages/pages/checkpoint.ts";
import { recoverPages } from "../../src/stages/pages/spool-recovery.ts";
import { type Chance, mutate, wordsOf } from "./chance.ts";
import type { FuzzClass } from "./fuzz-class.ts";

const key = Buffer.alloc(32, 5);
const extension = "ndjson.zst.age";
const words = [
  ...'{}[],:"\n \0'.split(""),
  ...wordsOf(
    'SPWYPAGE·null·"page":·"since":0·"version":2·"version":1·"key":·"__proto__":{}·true·1e999',
  ),
];

function checkpointOf(page: number): Checkpoint {
  const sealed = sealedOf(page);
  return {
    page,
    name: pageName(page, extension),
    records: 1,
    total: page + 1,
    span: "whole",
    bytes: 9,
    final: page === 2,
    sealedBytes: sealed.length,
    sealedDigest: createHash("sha256").update(sealed).digest("hex"),
    replay: "ab".repeat(32),
    since: page,
  };
}
const sealedOf = (page: number) => Buffer.from(`sealed page ${page}`);
const pageFile = (page: number) =>
  Buffer.concat([sealedOf(page), encodeTrailer(key, checkpointOf(page))]);
const lineOf = (...pages: number[]) => Buffer.from(encodeLine(key, pages.map(checkpointOf)));

/** Ends of page files and lines of the journal: what is taken is what was written, to the byte. */
export function checkpoints(): FuzzClass {
  const pages = [0, 1, 2];
  const known = pages.map((page) => JSON.stringify(checkpointOf(page)));
  return {
    seeds: { whole: [...pages.map(pageFile), lineOf(0), lineOf(1, 2)], words },
    async run(bytes) {
      const read = (at: number, length: number) =>
        Promise.resolve(Buffer.from(bytes.subarray(at, at + length)));
      const checkpoint = await decodeTrailer(key, bytes.length, read);
      if (checkpoint) assert.ok(known.includes(JSON.stringify(checkpoint)));
      for (const line of bytes.toString("utf8").split("\n"))
        for (const one of decodeLine(key, line) ?? [])
          assert.ok(known.includes(JSON.stringify(one)));
    },
  };
}

/** Memory where there is such a folder: thousands of cases write to it. */
const root = () => mkdtemp(join(existsSync("/dev/shm") ? "/dev/shm" : tmpdir(), "spillway-fuzz-"));

/** One file of a folder is changed, the others lie there or do not. */
export async function spoolFolders(): Promise<FuzzClass> {
  const folder = await root();
  const journal = Buffer.concat([lineOf(0), lineOf(1)]);
  const names = ["x", "00000001.ndjson", "99999999999999999999.ndjson", "00000007.ndjson.zst.age"];
  let nth = 0;
  return {
    seeds: { whole: [journal, pageFile(2), lineOf(0, 1)], words },
    async run(bytes, chance) {
      const spool = join(folder, String((nth += 1)));
      await mkdir(join(spool, "pages"), { recursive: true });
      const isJournal = chance.once(2);
      const lies = isJournal ? bytes : chance.pick([journal, lineOf(0), undefined]);
      if (lies) await writeFile(join(spool, "acks.ndjson"), lies);
      for (const page of [0, 1, 2]) {
        if (chance.once(3)) continue;
        const file = page === 2 && !isJournal ? bytes : pageFile(page);
        await writeFile(join(spool, "pages", pageName(page, extension)), file);
      }
      if (chance.once(4)) await writeFile(join(spool, "pages", chance.pick(names)), bytes);
      try {
        const first = await recoverPages(spool, key);
        assert.ok(first.marks.acked <= first.marks.durable && first.marks.durable <= 3);
        assert.deepEqual(await recoverPages(spool, key), first, "done twice it changes nothing");
      } finally {
        await rm(spool, { recursive: true });
      }
    },
    close: () => rm(folder, { recursive: true }),
  };
}

/** The record of a run and the memory of the last commit. */
export async function runFolders(): Promise<FuzzClass> {
  const folder = await root();
  const init = { pipeline: "p", configDigest: "c", meaning: "m", destination: "d", restart: false };
  const first = await openRunFolder({ ...init, dir: folder });
  const run = Buffer.from(JSON.stringify(first.record));
  const commit = {
    runId: first.record.runId,
    generation: 3,
    manifestDigest: "ab".repeat(32),
    signer: "ed25519:x",
  };
  const sizes = {
    rows: 1,
    pages: 1,
    bytesIn: 1,
    bytesOut: 1,
    consistency: "snapshot",
    extension: "ndjson",
  };
  const last = Buffer.from(JSON.stringify({ ...commit, ...sizes }));
  first.release();
  const lastName = `last-${createHash("sha256").update("d").digest("hex").slice(0, 16)}.json`;
  const whole = {
    whole: [run, last, Buffer.from("null"), Buffer.from("[]"), Buffer.from("7")],
    words,
  };
  const isOther = (chance: Chance, one: Buffer) => (chance.once(3) ? mutate(chance, whole) : one);
  let nth = 0;
  return {
    seeds: whole,
    async run(bytes, chance) {
      const dir = join(folder, String((nth += 1)));
      const place = join(dir, "p");
      await mkdir(join(place, "pages"), { recursive: true, mode: 0o700 });
      const isRun = chance.once(2);
      await writeFile(join(place, "run.json"), isRun ? bytes : isOther(chance, run));
      await writeFile(join(place, lastName), isRun ? isOther(chance, last) : bytes);
      const page = join(place, "pages", pageName(0, extension));
      await writeFile(page, pageFile(0));
      try {
        const opened = await openRunFolder({ ...init, dir, restart: chance.once(4) });
        opened.release();
        assert.match(opened.record.runId, /^[0-9A-Za-z][0-9A-Za-z._-]{0,63}$/);
        assert.equal(Buffer.from(opened.record.key, "hex").length, 32);
        if (opened.last) assert.ok(Number.isSafeInteger(opened.last.generation));
        assert.ok(!opened.resumed || (await readdir(join(place, "pages"))).length === 1);
      } finally {
        await rm(dir, { recursive: true });
      }
    },
    close: () => rm(folder, { recursive: true }),
  };
}

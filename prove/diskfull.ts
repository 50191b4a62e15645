/**
 * Proves that a disk that runs full, wherever that is, stops a run cleanly: no torn page is accepted, and with room made the
 * same command goes on to an export that is whole.
 *
 *   npm run prove:diskfull -- --trials 30 --seed 7
 *   npm run prove:diskfull -- --all --least 8 --most 16
 *
 * The whole command exports more than fits on a small file system, which holds the destination, or the spool, before a
 * destination that takes everything or nothing. Its size goes from 1 to 64 MiB in steps of 64 KiB; the number of its
 * files is swept too.
 *
 * Exit: 0 proved · 1 disproved · 2 not possible on this machine.
 */
import { createCipheriv, createHash } from "node:crypto";
import { copyFile, mkdir, mkdtemp, open, readFile, rm, truncate } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createKey } from "../test/fixtures/keys.ts";
import { mountDisk } from "../test/fixtures/small-disk.ts";
import { startScriptedS3, type ScriptedS3 } from "../test/servers/scripted-s3.ts";
import { readOptions, tellFailures, tellProgress } from "./command-line.ts";
import { seededRandom } from "./seeded.ts";
import { openHome, type Home, type Key } from "./syscalls/home.ts";

export interface DiskFullTrials {
  /** How many of all, drawn at random; all where absent. */
  readonly trials?: number;
  readonly seed: number;
  /** The smallest and the largest disk. All of them take hours, and may be proved in parts. */
  readonly leastMebibytes?: number;
  readonly mostMebibytes?: number;
  readonly onTrial?: (line: string) => void;
}

export interface DiskFullReport {
  readonly trials: number;
  /** Trials in which the disk ran full before the run was over. */
  readonly stopped: number;
  readonly failures: readonly string[];
  readonly seed: number;
}

/** Thrown where nothing may be mounted. */
export class NotMountable extends Error {}

const mebibyte = 2 ** 20;
const stepBytes = 2 ** 16;
const rowBytes = 2 ** 14;
/** Pages hold random letters, of which a quarter goes when they are compressed: enough for one and a fifth of a disk. */
const sourceBytesFor = (diskBytes: number) => 1.6 * diskBytes + 2 * mebibyte;

/**
 * What is on the small disk, and what the run may end with while that is full. A destination that takes nothing may be
 * given up before its pages have filled the disk, or the disk before.
 */
const kinds = {
  destination: { on: "out", to: "file", exits: ["5"] },
  "spool before a destination that takes nothing": { on: "spool", to: "s3", exits: ["75", "5"] },
  "spool before a destination that takes all": { on: "spool", to: "file", exits: ["0", "75"] },
} as const;

interface Trial {
  readonly kind: keyof typeof kinds;
  readonly diskBytes: number;
  /** Files and folders, where these are what runs out. */
  readonly inodes?: number;
}

interface Shared {
  readonly folder: string;
  readonly source: string;
  readonly key: Key;
  readonly s3: ScriptedS3;
}

export async function proveDiskFull(asked: DiskFullTrials): Promise<DiskFullReport> {
  const { seed, leastMebibytes = 1, mostMebibytes = 64, onTrial } = asked;
  const folder = await mkdtemp(join(tmpdir(), "spillway-diskfull-"));
  const s3 = await startScriptedS3("bucket");
  try {
    const drawn = draw(
      allTrials(leastMebibytes * mebibyte, mostMebibytes * mebibyte),
      seed,
      asked.trials,
    );
    const source = join(folder, "source.ndjson");
    await writeRows(
      source,
      sourceBytesFor(Math.max(...drawn.map(({ diskBytes }) => diskBytes))),
      seed,
    );
    const shared = { folder, source, key: await createKey(), s3 };
    const failures: string[] = [];
    let stopped = 0;
    for (const [i, trial] of drawn.entries()) {
      const { exit, found } = await makeTrial(trial, shared);
      if (exit !== "0") stopped += 1;
      const { kind, diskBytes, inodes } = trial;
      const size = inodes ? `${inodes} files` : `${diskBytes / 1024} KiB`;
      const line = `${kind}, ${size}: ${found ?? "whole"} after ${exit}`;
      if (found !== undefined) failures.push(line);
      onTrial?.(`${i + 1}/${drawn.length} ${line}`);
    }
    return { trials: drawn.length, stopped, failures, seed };
  } finally {
    await s3.stop();
    await rm(folder, { recursive: true, force: true });
  }
}

function allTrials(leastBytes: number, mostBytes: number): Trial[] {
  const names = Object.keys(kinds) as Trial["kind"][];
  const trials: Trial[] = [];
  for (let diskBytes = leastBytes; diskBytes <= mostBytes; diskBytes += stepBytes)
    trials.push(...names.map((kind) => ({ kind, diskBytes })));
  // Beginning with what is needed to begin at all.
  for (let inodes = 8; inodes < 24; inodes += 1)
    trials.push(...names.map((kind) => ({ kind, diskBytes: 16 * mebibyte, inodes })));
  return trials.filter(({ diskBytes }) => diskBytes >= leastBytes && diskBytes <= mostBytes);
}

function draw(all: readonly Trial[], seed: number, count = all.length): readonly Trial[] {
  if (count >= all.length) return all;
  const random = seededRandom(seed);
  const keyed = all.map((trial) => ({ trial, order: random() }));
  return keyed
    .toSorted((a, b) => a.order - b.order)
    .slice(0, count)
    .map(({ trial }) => trial);
}

/** Rows of equal length, each a function of the seed and its place. */
async function writeRows(path: string, bytes: number, seed: number): Promise<void> {
  const cipher = createCipheriv("aes-128-ctr", Buffer.alloc(16, String(seed)), Buffer.alloc(16));
  const file = await open(path, "wx");
  try {
    for (let row = 0; row * rowBytes < bytes; row += 1) {
      const head = `{"id":"${String(row).padStart(8, "0")}","text":"`;
      const tail = `"}\n`;
      const letters = rowBytes - head.length - tail.length;
      const random = cipher.update(Buffer.alloc(letters)).toString("base64").slice(0, letters);
      await file.write(head + random + tail);
    }
  } finally {
    await file.close();
  }
}

async function makeTrial(trial: Trial, { folder, source, key, s3 }: Shared) {
  const { on, to } = kinds[trial.kind];
  const home = join(folder, "home");
  await mkdir(home);
  const own = join(home, "source.ndjson");
  await copyFile(source, own);
  await truncate(own, Math.ceil(sourceBytesFor(trial.diskBytes) / rowBytes) * rowBytes);
  const options = { endpoint: s3.endpoint, accessKeyId: "key", secretAccessKey: "secret" };
  const target = to === "s3" ? options : to;
  const opened = await openHome({ folder: home, key, source: own, chunk: "1MiB", to: target });
  const size = trial.inodes ? `nr_inodes=${trial.inodes}` : `size=${trial.diskBytes}`;
  const disk = await mountDisk(join(home, on), size);
  if (!disk) throw new NotMountable();
  try {
    const exit = await fillDisk(trial, opened, s3);
    disk.resize("size=512m,nr_inodes=100000");
    return { exit, found: await goOn(trial, exit, opened, own).catch(String) };
  } finally {
    disk.unmount();
    s3.objects.clear();
    await rm(home, { recursive: true });
  }
}

/** Runs until the disk is full, or all fitted. */
async function fillDisk({ kind }: Trial, home: Home, s3: ScriptedS3): Promise<string> {
  // A server that never answers holds the pages in the spool.
  const hold = () => void s3.faults.push({ on: "PUT", play: hold });
  hold();
  const { exit } = await home.run();
  s3.faults.splice(0);
  return kinds[kind].exits.some((right) => right === exit) ? exit : `an unexpected ${exit}`;
}

async function goOn({ kind }: Trial, exit: string, home: Home, source: string) {
  const { exits } = kinds[kind];
  if (exit.startsWith("an unexpected")) return `expected ${exits.join(" or ")}`;
  const last = exit === "0" ? undefined : await home.run();
  if (last && last.exit !== "0") return `with room, it ended with ${last.exit}: ${last.error}`;
  const expected = createHash("sha256")
    .update(await readFile(source))
    .digest("hex");
  const runs = await home.judge(expected);
  return runs === 1 ? undefined : `${runs} runs lie at the destination`;
}

if (import.meta.main) {
  const values = readOptions({ trials: 30, all: false, least: 1, most: 64 });
  try {
    const { trials, stopped, failures, seed } = await proveDiskFull({
      ...(!values.all && { trials: values.trials }),
      leastMebibytes: values.least,
      mostMebibytes: values.most,
      seed: values.seed,
      onTrial: tellProgress,
    });
    tellFailures(failures);
    process.stdout.write(
      `${trials} trials, ${stopped} stopped by a full disk, ${failures.length} failures, seed ${seed}\n`,
    );
  } catch (error) {
    if (!(error instanceof NotMountable)) throw error;
    process.stderr.write("nothing may be mounted here; run this as root\n");
    process.exitCode = 2;
  }
}

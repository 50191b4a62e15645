/**
 * A pipeline's folder in the spool: the lock, the record of the run under way, the memory of the last commit.
 *
 * `run.json` exists from before the first page until after the commit, so it alone tells whether a run is to be
 * taken up. `last-….json` is durable before `run.json` goes.
 */
import { createHash, createHmac, randomBytes } from "node:crypto";
import { lstat, readFile, readdir, rm, unlink } from "node:fs/promises";
import { join, resolve } from "node:path";
import { PipelineError, systemCode } from "../errors.ts";
import { nextRunId } from "./run-id.ts";
import { makeFolder, syncFolder, writeDurably } from "../stages/durable-file.ts";
import { takeLock } from "../stages/pages/spool-lock.ts";

/** The run under way; holds no secret but the key of its own checkpoints. */
export interface RunRecord {
  readonly version: 2;
  readonly runId: string;
  readonly pipeline: string;
  readonly configDigest: string;
  /** HMAC (hex, under `key`) of what the run means: resolved stages, modules, destination. */
  readonly meaning: string;
  /** Hex; opens nothing but this run's checkpoints. */
  readonly key: string;
  readonly started: string;
  readonly attempts: number;
  /** Trace of the latest attempt, for the next one to link to. */
  readonly traceparent?: string;
}

/** The last committed run of this pipeline. */
export interface LastCommit {
  readonly runId: string;
  readonly generation: number;
  /** SHA-256 (hex) of its manifest. */
  readonly manifestDigest: string;
  readonly signer: string;
  readonly rows: number;
  readonly pages: number;
  readonly bytesIn: number;
  readonly bytesOut: number;
  readonly consistency: string;
  /** Format of the records, as in page names. */
  readonly extension: string;
}

export interface RunFolder {
  readonly path: string;
  readonly record: RunRecord;
  /** True when an earlier attempt of the same run is taken up. */
  readonly resumed: boolean;
  readonly last: LastCommit | undefined;
  /** True when the run was committed, and only the tidying up after it was cut off. */
  readonly committed: boolean;
  /** Replaces the record durably. */
  save(record: RunRecord): Promise<void>;
  /** Remembers the commit durably, then removes what the run left here. */
  commit(last: LastCommit): Promise<void>;
  /** Gives the lock back. */
  release(): void;
}

export interface RunFolderInit {
  readonly dir: string;
  readonly pipeline: string;
  readonly configDigest: string;
  /** Everything another attempt must share: resolved settings, modules; may hold secrets. */
  readonly meaning: string;
  /** What tells the destination from every other. */
  readonly destination: string;
  /** Discards an unfinished run and begins a new one. */
  readonly restart: boolean;
}

/** What belongs to one run and goes with it, besides `run.json`. */
const ofRun = [
  "pages",
  "incoming",
  "acks.ndjson",
  "manifest.json",
  "manifest.json.draft",
  "manifest.json.sig",
  "SHA256SUMS",
];

/**
 * Takes the pipeline's lock and its unfinished run, or begins a new one.
 * @throws PipelineError `already-running`; `config-changed` when the unfinished run was of other stages
 */
export async function openRunFolder(init: RunFolderInit): Promise<RunFolder> {
  const path = resolve(init.dir, init.pipeline);
  await makePrivate(path);
  const lock = takeLock(join(path, "lock.db"), init.pipeline);
  try {
    const lastPath = lastName(init.destination);
    const last = await readJson<LastCommit>(join(path, lastPath));
    let found = await readRecord(path, init.restart);
    if (found && (init.restart || (!isSame(found, init) && !(await hasPages(path))))) {
      await discard(path, found);
      found = undefined;
    }
    if (found) refuseChanges(found, init);
    else await clear(path);
    const record = found ? { ...found, attempts: found.attempts + 1 } : begin(init, last);
    const save = (next: RunRecord) => writeJson(path, "run.json", next);
    await save(record);
    return {
      path,
      record,
      resumed: found !== undefined,
      last,
      committed: last?.runId === record.runId,
      save,
      async commit(next) {
        await writeJson(path, lastPath, next);
        await clear(path);
        await remove(path, ["run.json"]);
      },
      release: () => lock.release(),
    };
  } catch (error) {
    lock.release();
    throw error;
  }
}

function begin(init: RunFolderInit, last: LastCommit | undefined): RunRecord {
  const key = randomBytes(32).toString("hex");
  const started = new Date().toISOString();
  return {
    version: 2,
    runId: nextRunId(started, last?.runId ?? ""),
    pipeline: init.pipeline,
    configDigest: init.configDigest,
    meaning: sealMeaning(key, init),
    key,
    started,
    attempts: 1,
  };
}

const sealMeaning = (key: string, { meaning, destination }: RunFolderInit): string =>
  createHmac("sha256", Buffer.from(key, "hex"))
    .update(JSON.stringify([meaning, destination]))
    .digest("hex");

/** Generations are counted, and commits remembered, for each destination. */
const lastName = (destination: string): string =>
  `last-${createHash("sha256").update(destination).digest("hex").slice(0, 16)}.json`;

/** A record that cannot be read stops a run, but not one that discards it. */
export async function readRecord(path: string, restart: boolean): Promise<RunRecord | undefined> {
  try {
    return await readJson<RunRecord>(join(path, "run.json"));
  } catch (error) {
    if (!restart) throw error;
    return undefined;
  }
}

export const isSame = (found: RunRecord, init: RunFolderInit): boolean =>
  found.version === 2 && found.meaning === sealMeaning(found.key, init);

/** Whether an attempt got so far that discarding it would lose something. */
export async function hasPages(path: string): Promise<boolean> {
  const pages = await readdir(join(path, "pages")).catch(() => []);
  const journal = await lstat(join(path, "acks.ndjson")).catch(() => undefined);
  return pages.length > 0 || (journal?.size ?? 0) > 0;
}

function refuseChanges(found: RunRecord, init: RunFolderInit): void {
  if (found.version !== 2) {
    throw new PipelineError(
      "config-changed",
      `run ${found.runId} was begun by another version of spillway; finish it with that one, or discard it with --restart`,
    );
  }
  if (isSame(found, init)) return;
  throw new PipelineError(
    "config-changed",
    `the stages, what they refer to, or the destination have changed since run ${found.runId} began; restore them to go on with it, or discard it with --restart`,
  );
}

async function makePrivate(path: string): Promise<void> {
  try {
    await makeFolder(path);
    const found = await lstat(path);
    if (found.isDirectory() && (found.mode & 0o077) === 0) return;
  } catch (error) {
    throw new PipelineError(
      "spool-failed",
      `spool: cannot make ${path} (${systemCode(error) ?? "unknown error"})`,
      { cause: error },
    );
  }
  throw new PipelineError(
    "config-invalid",
    `spool: ${path} must be a folder that only its owner can open; try \`chmod 700\` or another \`spool.dir\``,
  );
}

/**
 * Gives up an unfinished run: `run.json` first, so that a crash in between leaves no run with half its folder.
 * @throws PipelineError `config-invalid` when its manifest may be at the destination already
 */
async function discard(path: string, found: RunRecord): Promise<void> {
  if ((await readdir(path)).includes("manifest.json")) {
    throw new PipelineError(
      "config-invalid",
      `run ${found.runId} is complete but for its last step; run without --restart to finish it`,
    );
  }
  await remove(path, ["run.json"]);
  await clear(path);
}

const clear = (path: string): Promise<void> => remove(path, ofRun);

async function remove(path: string, names: readonly string[]): Promise<void> {
  for (const name of names) await rm(join(path, name), { recursive: true, force: true });
  await syncFolder(path);
}

async function readJson<T>(path: string): Promise<T | undefined> {
  try {
    return JSON.parse(await readFile(path, "utf8")) as T;
  } catch (error) {
    if (systemCode(error) === "ENOENT") return undefined;
    throw new PipelineError(
      "integrity-failed",
      `spool: ${path} cannot be read; it may be damaged`,
      {
        cause: error,
      },
    );
  }
}

async function writeJson(folder: string, name: string, value: unknown): Promise<void> {
  const incoming = join(folder, `${name}.incoming`);
  await unlink(incoming).catch(() => {});
  await writeDurably(incoming, join(folder, name), [
    Buffer.from(`${JSON.stringify(value, null, 1)}\n`),
  ]);
}

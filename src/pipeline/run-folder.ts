/**
 * A pipeline's folder in the spool: the lock, the record of the run under way, the memory of the last commit.
 *
 * `run.json` exists from before the first page until after the commit, so it alone tells whether a run is to be
 * taken up. `last.json` is durable before `run.json` goes.
 */
import { randomBytes } from "node:crypto";
import { lstat, readFile, rm, unlink } from "node:fs/promises";
import { join, resolve } from "node:path";
import { PipelineError, systemCode } from "../errors.ts";
import { makeFolder, syncFolder, writeDurably } from "../stages/durable-file.ts";
import { takeLock } from "../stages/pages/spool-lock.ts";

/** The run under way; holds no secret but the key of its own checkpoints. */
export interface RunRecord {
  readonly version: 1;
  readonly runId: string;
  readonly pipeline: string;
  readonly configDigest: string;
  /** URL of the destination, without secrets. */
  readonly destination: string;
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
  readonly destination: string;
  /** Discards an unfinished run and begins a new one. */
  readonly restart: boolean;
}

/** What belongs to one run and goes with it. */
const ofRun = [
  "pages",
  "incoming",
  "acks.ndjson",
  "manifest.json",
  "manifest.json.draft",
  "manifest.json.sig",
  "SHA256SUMS",
  "run.json",
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
    const last = await readJson<LastCommit>(join(path, "last.json"));
    let found = await readJson<RunRecord>(join(path, "run.json"));
    if (found && init.restart) {
      await clear(path);
      found = undefined;
    }
    if (found) refuseChanges(found, init);
    else await clear(path);
    const record = found ? { ...found, attempts: found.attempts + 1 } : begin(init);
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
        await writeJson(path, "last.json", next);
        await clear(path);
      },
      release: () => lock.release(),
    };
  } catch (error) {
    lock.release();
    throw error;
  }
}

function begin({ pipeline, configDigest, destination }: RunFolderInit): RunRecord {
  const started = new Date().toISOString();
  return {
    version: 1,
    runId: `${started.replace(/[-:]|\.\d+/g, "")}-${randomBytes(4).toString("hex")}`,
    pipeline,
    configDigest,
    destination,
    key: randomBytes(32).toString("hex"),
    started,
    attempts: 1,
  };
}

function refuseChanges(found: RunRecord, init: RunFolderInit): void {
  if (found.version !== 1) {
    throw new PipelineError(
      "config-changed",
      `run ${found.runId} was begun by another version of spillway; finish it with that one, or discard it with --restart`,
    );
  }
  if (found.destination !== init.destination) {
    // A reference in `upload.to` may lead elsewhere though the stages read the same.
    throw new PipelineError(
      "config-changed",
      `run ${found.runId} began to upload to another destination; restore it to go on, or discard the run with --restart`,
    );
  }
  if (found.configDigest === init.configDigest) return;
  throw new PipelineError(
    "config-changed",
    `the stages have changed since run ${found.runId} began; restore them to go on with it, or discard it with --restart`,
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

/** `run.json` goes last, so that a crash in between is a run to take up, not a puzzle. */
async function clear(path: string): Promise<void> {
  for (const name of ofRun) await rm(join(path, name), { recursive: true, force: true });
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

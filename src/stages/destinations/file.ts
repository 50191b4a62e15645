/**
 * Destination `file:` · objects as files below one folder.
 *
 * takes / gives  whole objects by name; pieces of at most 1 MiB back
 * holds          one piece while reading; while listing, the names of one folder for each level of depth
 * order          puts may run side by side; `list` is in name order
 * ends           a put returns when the file, its name and its folders would survive a power cut
 * fails          `foreign-object`, `destination-refused`, `destination-failed` (no space: try again), `not-found`
 *
 * A file is written under `.incoming-…` and gets its name by a hard link, which cannot overwrite. What a crash leaves
 * of `.incoming-…` is removed when its folder is next written to (one run owns a folder) and never listed.
 */
import { randomUUID } from "node:crypto";
import { constants } from "node:fs";
import { lstat, open, opendir, rm, unlink } from "node:fs/promises";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { PipelineError, systemCode } from "../../errors.ts";
import type { Destination, ListedObject, OpenDestination, StoredObject } from "./destination.ts";
import { makeFolder, shareFolderSync, syncFolder, writeSynced } from "../durable-file.ts";
import { digestOf, failureOf, guard, linkOnce, readPieces, statOf } from "./file-work.ts";
import { compareNames, folderSegmentsOf, incomingPrefix, segmentsOf } from "./object-names.ts";

const { O_NOFOLLOW, O_NONBLOCK, O_RDONLY } = constants;

/** Makes the names in a folder durable, for all who wait for it at once. */
type SyncNames = () => Promise<void>;

/** Folders this process may write to; they are made one after another, so that none relies on an unsynced parent. */
interface Folders {
  readonly ready: Map<string, Promise<SyncNames>>;
  last: Promise<unknown>;
}

/** Opens a folder as a destination; it is made by the first `put`, so reading changes nothing. */
export const openFile: OpenDestination = async (url) => {
  const root = fileURLToPath(url);
  const folders: Folders = { ready: new Map(), last: Promise.resolve() };
  return {
    url: url.href,
    put: (object, signal) =>
      guard("storing an object", signal, () => put(root, folders, object, signal)),
    get: (name, signal) => get(root, name, signal),
    list: (folder, signal) => list(root, folderSegmentsOf(folder), signal),
    finish: async () => {},
    close: async () => {},
  } satisfies Destination;
};

/** The folders are looked at before each name is given: a page is never called stored where somebody led it elsewhere. */
async function put(
  root: string,
  folders: Folders,
  object: StoredObject,
  signal: AbortSignal,
): Promise<void> {
  const segments = segmentsOf(object.name);
  const folder = join(root, ...segments.slice(0, -1));
  const syncNames = await ready(folders, root, segments.slice(0, -1));
  const incoming = join(folder, `${incomingPrefix}${randomUUID()}`);
  const path = join(root, ...segments);
  await writeSynced(incoming, [object.bytes]);
  try {
    signal.throwIfAborted();
    await refuseDetours(root, segments.slice(0, -1));
    if (!(await linkOnce(incoming, path))) {
      await refuseDetours(root, segments);
      await expectEqual(path, object, signal);
    }
  } finally {
    // If it stays it is never listed, and removed with the next run's first put.
    await unlink(incoming).catch(() => {});
  }
  await syncNames();
}

/** Nothing below the root may lead elsewhere: a symlink is refused, wherever it points. */
async function refuseDetours(root: string, segments: readonly string[]): Promise<void> {
  let path = root;
  for (const segment of segments) {
    path = join(path, segment);
    const found = await statOf(path);
    if (found === undefined) return;
    if (!found.isSymbolicLink()) continue;
    throw new PipelineError(
      "destination-refused",
      `${JSON.stringify(path)} is a symbolic link; expected real files and folders at the destination`,
    );
  }
}

function ready(folders: Folders, root: string, segments: readonly string[]): Promise<SyncNames> {
  const key = segments.join("/");
  const known = folders.ready.get(key);
  if (known) return known;
  const making = folders.last.then(async () => {
    await refuseDetours(root, segments);
    await prepareFolder(root, segments);
    return shareFolderSync(join(root, ...segments));
  });
  folders.ready.set(key, making);
  // A failure is not kept: the next put may find room or rights.
  folders.last = making.catch(() => void folders.ready.delete(key));
  return making;
}

async function prepareFolder(root: string, segments: readonly string[]): Promise<void> {
  let folder = root;
  await makeFolder(root);
  for (const segment of segments) {
    folder = join(folder, segment);
    await makeFolder(folder);
    // Even one that was there: a process may have died between making it and syncing.
    await syncFolder(dirname(folder));
  }
  for await (const entry of await opendir(folder)) {
    if (entry.isFile() && entry.name.startsWith(incomingPrefix)) {
      await rm(join(folder, entry.name), { force: true });
    }
  }
}

async function expectEqual(path: string, object: StoredObject, signal: AbortSignal): Promise<void> {
  if (await isEqual(path, object, signal)) return;
  throw new PipelineError(
    "foreign-object",
    `${object.name} is taken by other bytes at the destination; nothing was overwritten`,
    { details: { name: object.name } },
  );
}

async function isEqual(path: string, object: StoredObject, signal: AbortSignal): Promise<boolean> {
  const found = await lstat(path);
  if (!found.isFile() || found.size !== object.bytes.length) return false;
  const file = await open(path, O_RDONLY | O_NOFOLLOW);
  try {
    const digest = await digestOf(file, 0, found.size, signal);
    // It may stem from a process that died before it could sync.
    await file.sync();
    return digest.equals(object.sha256);
  } finally {
    await file.close();
  }
}

async function* get(root: string, name: string, signal: AbortSignal): AsyncGenerator<Uint8Array> {
  const segments = segmentsOf(name);
  try {
    signal.throwIfAborted();
    await refuseDetours(root, segments);
    // A FIFO would make a plain open wait for ever.
    const file = await open(join(root, ...segments), O_RDONLY | O_NOFOLLOW | O_NONBLOCK);
    try {
      const found = await file.stat();
      if (!found.isFile()) throw missing(name);
      yield* readPieces(file, 0, found.size, signal);
    } finally {
      await file.close();
    }
  } catch (error) {
    if (systemCode(error) === "ENOENT") throw missing(name);
    throw failureOf(`reading ${name}`, signal, error);
  }
}

function missing(name: string): PipelineError {
  return new PipelineError("not-found", `${name} does not exist at the destination`, {
    details: { name },
  });
}

async function* list(
  root: string,
  folder: readonly string[],
  signal: AbortSignal,
): AsyncGenerator<ListedObject> {
  try {
    await refuseDetours(root, folder);
    yield* walk(root, folder, signal);
  } catch (error) {
    throw failureOf("listing", signal, error);
  }
}

async function* walk(
  root: string,
  folder: readonly string[],
  signal: AbortSignal,
): AsyncGenerator<ListedObject> {
  for (const entry of await sortedEntries(join(root, ...folder), signal)) {
    signal.throwIfAborted();
    if (entry.endsWith("/")) {
      yield* walk(root, [...folder, entry.slice(0, -1)], signal);
      continue;
    }
    const found = await statOf(join(root, ...folder, entry));
    if (found?.isFile()) yield { name: [...folder, entry].join("/"), bytes: found.size };
  }
}

/** Files and folders of one folder, folders with a `/` so that whole names come out in order. */
async function sortedEntries(path: string, signal: AbortSignal): Promise<string[]> {
  const names: string[] = [];
  try {
    for await (const entry of await opendir(path)) {
      signal.throwIfAborted();
      if (entry.isDirectory()) names.push(`${entry.name}/`);
      else if (entry.isFile() && !entry.name.startsWith(incomingPrefix)) names.push(entry.name);
    }
  } catch (error) {
    if (systemCode(error) !== "ENOENT") throw error;
  }
  return names.sort(compareNames);
}

/**
 * Destination `file:` · objects as files below one folder.
 *
 * takes / gives  whole objects by name; pieces of at most 1 MiB back
 * holds          one piece while reading; while listing, the names of one folder for each level of depth, of pages a bit each
 * order          puts may run side by side; `list` is in name order
 * ends           a put returns when the file, its name and its folders would survive a power cut
 * fails          `foreign-object`, `destination-refused`, `destination-failed` (no space: try again), `not-found`
 *
 * A file is written under `.incoming-…` and gets its name by a hard link, which cannot overwrite. What a crash leaves
 * of `.incoming-…` is removed when its folder is next written to (one run owns a folder) and never listed.
 */
import { constants } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { PipelineError, systemCode } from "../../errors.ts";
import type { Destination, ListedObject, OpenDestination, StoredObject } from "./destination.ts";
import {
  makeFolder,
  makeTopFolder,
  partsOf,
  shareFolderSync,
  writeSynced,
} from "../durable-file.ts";
import { realWorld, type Disk, type World } from "../world.ts";
import { removeFile } from "./file-remove.ts";
import { digestOf, failureOf, guard, linkOnce, readPieces, statOf } from "./file-work.ts";
import { FolderNames } from "./folder-names.ts";
import { folderSegmentsOf, incomingPrefix, noFile, segmentsOf } from "./object-names.ts";
import { pathIdentity } from "./path-identity.ts";

const { O_NOFOLLOW, O_NONBLOCK, O_RDONLY } = constants;

/** Makes the names in a folder durable, for all who wait for it at once. */
type SyncNames = () => Promise<void>;

/** Folders this process may write to; they are made one after another, so that none relies on an unsynced parent. */
interface Folders {
  readonly world: World;
  readonly root: string;
  readonly ready: Map<string, Promise<SyncNames>>;
  last: Promise<unknown>;
}

/** Opens a folder as a destination; it is made by the first `put`, so reading changes nothing. */
export const openFile: OpenDestination = async (url, { world = realWorld }) => {
  const root = fileURLToPath(url);
  const { disk } = world;
  const folders: Folders = { world, root, ready: new Map(), last: Promise.resolve() };
  return {
    url: url.href,
    identity: pathIdentity(url),
    put: (object, signal) => guard("storing an object", signal, () => put(folders, object, signal)),
    get: (name, signal) => get(disk, root, name, signal),
    list: (folder, signal) => list(disk, root, folderSegmentsOf(folder), signal),
    remove: (name, signal) =>
      guard("removing an object", signal, async () => {
        const segments = segmentsOf(name);
        await refuseDetours(disk, root, segments);
        await removeFile(disk, root, segments, (folder) => folders.ready.delete(folder));
      }),
    finish: async () => {},
    close: async () => {},
  } satisfies Destination;
};

/** The folders are looked at before each name is given: a page is never called stored where somebody led it elsewhere. */
async function put(folders: Folders, object: StoredObject, signal: AbortSignal): Promise<void> {
  const { world, root } = folders;
  const { disk } = world;
  const segments = segmentsOf(object.name);
  const folder = join(root, ...segments.slice(0, -1));
  const syncNames = await ready(folders, segments.slice(0, -1));
  const incoming = join(folder, `${incomingPrefix}${world.randomBytes(16).toString("hex")}`);
  const path = join(root, ...segments);
  await writeSynced(incoming, partsOf(object.bytes), disk);
  try {
    signal.throwIfAborted();
    await refuseDetours(disk, root, segments.slice(0, -1));
    if (!(await linkOnce(incoming, path, disk))) {
      await refuseDetours(disk, root, segments);
      await expectEqual(disk, path, object, signal);
    }
  } finally {
    // If it stays it is never listed, and removed with the first put of the run's next attempt.
    await disk.unlink(incoming).catch(() => {});
  }
  await syncNames();
}

/** Nothing below the root may lead elsewhere: a symlink is refused, wherever it points. */
async function refuseDetours(disk: Disk, root: string, segments: readonly string[]): Promise<void> {
  let path = root;
  for (const segment of segments) {
    path = join(path, segment);
    const found = await statOf(path, disk);
    if (found === undefined) return;
    if (!found.isSymbolicLink()) continue;
    throw new PipelineError(
      "destination-refused",
      `${JSON.stringify(path)} is a symbolic link; expected real files and folders at the destination`,
    );
  }
}

function ready(folders: Folders, segments: readonly string[]): Promise<SyncNames> {
  const { root } = folders;
  const { disk } = folders.world;
  const key = segments.join("/");
  const known = folders.ready.get(key);
  if (known) return known;
  const making = folders.last.then(async () => {
    await refuseDetours(disk, root, segments);
    await prepareFolder(disk, root, segments);
    return shareFolderSync(join(root, ...segments), disk);
  });
  folders.ready.set(key, making);
  // A failure is not kept: the next put may find room or rights.
  folders.last = making.catch(() => void folders.ready.delete(key));
  return making;
}

async function prepareFolder(disk: Disk, root: string, segments: readonly string[]): Promise<void> {
  let folder = root;
  await makeTopFolder(root, disk);
  for (const segment of segments) {
    folder = join(folder, segment);
    await makeFolder(folder, disk);
  }
  for await (const entry of await disk.opendir(folder)) {
    if (entry.isFile() && entry.name.startsWith(incomingPrefix)) {
      await disk.rm(join(folder, entry.name), { force: true });
    }
  }
}

async function expectEqual(
  disk: Disk,
  path: string,
  object: StoredObject,
  signal: AbortSignal,
): Promise<void> {
  if (await isEqual(disk, path, object, signal)) return;
  throw new PipelineError(
    "foreign-object",
    `${object.name} is taken by other bytes at the destination; nothing was overwritten`,
    { details: { name: object.name } },
  );
}

async function isEqual(
  disk: Disk,
  path: string,
  object: StoredObject,
  signal: AbortSignal,
): Promise<boolean> {
  const found = await disk.lstat(path);
  if (!found.isFile() || found.size !== object.bytes.length) return false;
  const file = await disk.open(path, O_RDONLY | O_NOFOLLOW);
  try {
    const digest = await digestOf(file, 0, found.size, signal);
    // It may stem from a process that died before it could sync.
    await file.sync();
    return digest.equals(object.sha256);
  } finally {
    await file.close();
  }
}

async function* get(
  disk: Disk,
  root: string,
  name: string,
  signal: AbortSignal,
): AsyncGenerator<Uint8Array> {
  const segments = segmentsOf(name);
  try {
    signal.throwIfAborted();
    await refuseDetours(disk, root, segments);
    // A FIFO would make a plain open wait for ever.
    const file = await disk.open(join(root, ...segments), O_RDONLY | O_NOFOLLOW | O_NONBLOCK);
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
  disk: Disk,
  root: string,
  folder: readonly string[],
  signal: AbortSignal,
): AsyncGenerator<ListedObject> {
  try {
    await refuseDetours(disk, root, folder);
    yield* walk(disk, root, folder, signal);
  } catch (error) {
    throw failureOf("listing", signal, error);
  }
}

async function* walk(
  disk: Disk,
  root: string,
  folder: readonly string[],
  signal: AbortSignal,
): AsyncGenerator<ListedObject> {
  for (const entry of (await readNames(disk, join(root, ...folder), signal)).inOrder()) {
    signal.throwIfAborted();
    if (entry.endsWith("/")) {
      yield* walk(disk, root, [...folder, entry.slice(0, -1)], signal);
      continue;
    }
    const found = await statOf(join(root, ...folder, entry), disk);
    yield { name: [...folder, entry].join("/"), bytes: found?.size ?? 0 };
  }
}

/** Files and folders of one folder, folders with a `/` so that whole names come out in order. */
async function readNames(disk: Disk, path: string, signal: AbortSignal): Promise<FolderNames> {
  const names = new FolderNames();
  try {
    for await (const entry of await disk.opendir(path)) {
      signal.throwIfAborted();
      if (entry.isDirectory()) names.add(`${entry.name}/`);
      else if (!entry.isFile()) names.add(noFile(entry.name));
      else if (!entry.name.startsWith(incomingPrefix)) names.add(entry.name);
    }
  } catch (error) {
    if (systemCode(error) !== "ENOENT") throw error;
  }
  return names;
}

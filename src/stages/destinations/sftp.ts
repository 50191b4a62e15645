/**
 * Destination `sftp:` · objects as files below one folder of an SSH server, whose key is pinned.
 *
 * takes / gives  whole objects by name; pieces of at most 256 KiB back
 * holds          some pieces of 32 KiB for each put under way; while listing, the names of one folder for each level of depth
 * order          puts may run side by side over one connection; `list` is in name order
 * ends           a put returns when the file is whole, synced where the server can, and has its name
 * fails          `destination-unreachable` and `destination-failed` (try again), `destination-refused`, `foreign-object`
 *
 * A file is written under `.incoming-…` and gets its name by a hard link (hardlink@openssh.com), which cannot overwrite.
 * What a crash leaves of `.incoming-…` is removed when its folder is next written to, and never listed.
 */
import { createHash, randomBytes } from "node:crypto";
import { PipelineError } from "../../errors.ts";
import type { DestinationOptions, ListedObject, StoredObject } from "./destination.ts";
import { compareNames, folderSegmentsOf, incomingPrefix, segmentsOf } from "./object-names.ts";
import { type RetryPolicy, TryAgain, patience, persist } from "./retry.ts";
import { type SftpConnection, openConnection } from "./sftp-connection.ts";
import {
  type Found,
  failureOf,
  makeFolder,
  nameOnce,
  removeFile,
  statOf,
  writeFile,
} from "./sftp-files.ts";
import { entriesOf, openFile } from "./sftp-reading.ts";
import { targetOf } from "./sftp-target.ts";
import type { Probed } from "./store-probe.ts";

const pieceBytes = 256 * 1024;

interface Session {
  readonly connection: SftpConnection;
  readonly root: string;
  readonly policy: RetryPolicy;
  /** Folders that are there and swept. */
  readonly ready: Map<string, Promise<void>>;
  isSynced: boolean | undefined;
  /** Whether names are given by links, which cannot overwrite. */
  isGuarded: boolean | undefined;
}

export interface SftpDestination extends Probed {
  /** Whether the server syncs files; undefined before the first put. */
  readonly synced: boolean | undefined;
}

/** Opens a folder of an SSH server; nothing is connected yet. @throws PipelineError `config-invalid` without a login. */
export const openSftp = async (
  url: URL,
  options: DestinationOptions,
  policy: RetryPolicy = patience,
): Promise<SftpDestination> => {
  const target = targetOf(url, options.sftp ?? {}, process.env);
  const { root } = target;
  const connection = openConnection(target, options.timeoutMillis);
  const start = { ready: new Map(), isSynced: undefined, isGuarded: undefined };
  const session: Session = { connection, root, policy, ...start };
  return {
    url: url.href,
    get conditional() {
      return session.isGuarded;
    },
    get synced() {
      return session.isSynced;
    },
    async put(object, signal) {
      const segments = segmentsOf(object.name);
      await persist(() => putOnce(session, segments, object, signal), signal, policy);
    },
    get: (name, signal) => get(session, name, signal),
    async *list(folder, signal) {
      yield* walk(session, folderSegmentsOf(folder), signal);
    },
    async remove(name, signal) {
      const path = pathOf(root, segmentsOf(name));
      await persist(() => removeFile(connection, path, signal), signal, policy);
    },
    finish: async () => {},
    close: async () => connection.close(),
  };
};

const pathOf = (root: string, segments: readonly string[]) =>
  [root === "/" ? "" : root, ...segments].join("/") || "/";

async function putOnce(
  session: Session,
  segments: readonly string[],
  object: StoredObject,
  signal: AbortSignal,
): Promise<void> {
  const { connection, root } = session;
  const folder = segments.slice(0, -1);
  await ready(session, folder, signal);
  const incoming = pathOf(root, [...folder, incomingPrefix + randomBytes(16).toString("hex")]);
  const path = pathOf(root, segments);
  session.isSynced = await writeFile(connection, incoming, object.bytes, signal);
  const named = await nameOnce(connection, [incoming, path], signal);
  if (named !== "taken") session.isGuarded = named === "linked";
  // If it stays it is never listed, and removed with the first put of the run's next attempt.
  if (named !== "renamed") await removeFile(connection, incoming, signal).catch(() => undefined);
  signal.throwIfAborted();
  if (named === "taken") await expectEqual(session, path, object, signal);
}

/** Makes a folder and what it lies in, and removes what an earlier attempt left in it. */
function ready(session: Session, segments: readonly string[], signal: AbortSignal): Promise<void> {
  const key = segments.join("/");
  const known = session.ready.get(key);
  if (known) return known;
  const { connection, root } = session;
  const making = (async () => {
    for (let depth = 0; depth <= segments.length; depth += 1) {
      const path = pathOf(root, segments.slice(0, depth));
      const found = await statOf(connection, path, signal);
      if (!found) await makeFolder(connection, path, signal);
      // Below the root nothing may lead elsewhere.
      else if (depth > 0 && !found.isFolder) throw detour(path);
    }
    const folder = pathOf(root, segments);
    for await (const { name, isFile } of entriesOf(connection, folder, signal))
      if (isFile && name.startsWith(incomingPrefix))
        await removeFile(connection, `${folder}/${name}`, signal);
  })();
  session.ready.set(key, making);
  making.catch(() => void session.ready.delete(key));
  return making;
}

const detour = (path: string) =>
  new PipelineError(
    "destination-refused",
    `${JSON.stringify(path)} is no folder; expected real files and folders at the destination`,
  );

async function expectEqual(
  session: Session,
  path: string,
  { name, bytes, sha256 }: StoredObject,
  signal: AbortSignal,
): Promise<void> {
  const file = await openFile(session.connection, path, signal);
  if (file?.bytes === bytes.length) {
    const hash = createHash("sha256");
    for await (const piece of readFrom(file, 0)) hash.update(piece);
    await file.close();
    if (hash.digest().equals(sha256)) return;
  }
  throw new PipelineError(
    "foreign-object",
    `${name} is taken by other bytes at the destination; nothing was overwritten`,
    { details: { name } },
  );
}

type Opened = NonNullable<Awaited<ReturnType<typeof openFile>>>;

async function* readFrom(file: Opened, start: number): AsyncGenerator<Buffer> {
  for (let at = start; at < file.bytes;) {
    const piece = await file
      .read(at, Math.min(pieceBytes, file.bytes - at))
      .catch((error: unknown) => Promise.reject(failureOf(error, "reading a file")));
    if (piece.length === 0) throw new TryAgain(broken(`ends after ${at} of ${file.bytes} bytes`));
    at += piece.length;
    yield piece;
  }
}

/** Reads an object. Where it breaks off, the rest of the very same file is asked for. */
async function* get(
  session: Session,
  name: string,
  signal: AbortSignal,
): AsyncGenerator<Uint8Array> {
  const { connection, root, policy } = session;
  const path = pathOf(root, segmentsOf(name));
  const open = () => persist(() => openFile(connection, path, signal), signal, policy);
  let first: Found | undefined;
  let read = 0;
  for (let left = policy.attempts; ; left -= 1) {
    const file = await open();
    if (!file) throw missing(name);
    if (first && (file.bytes !== first.bytes || file.changed !== first.changed))
      throw broken(`broke off after ${read} bytes, and is another one by now; try again`);
    first ??= { ...file };
    try {
      for await (const piece of readFrom(file, read)) {
        read += piece.length;
        yield piece;
      }
      return;
    } catch (error) {
      if (!(error instanceof TryAgain)) throw error;
      if (left <= 1) throw error.failure;
    } finally {
      await file.close();
    }
  }
}

const broken = (what: string) => new PipelineError("destination-failed", `an object ${what}`);

const missing = (name: string) =>
  new PipelineError("not-found", `${name} does not exist at the destination`, {
    details: { name },
  });

async function* walk(
  session: Session,
  folder: readonly string[],
  signal: AbortSignal,
): AsyncGenerator<ListedObject> {
  const { connection, root, policy } = session;
  const entries = new Map<string, number>();
  const read = async () => {
    entries.clear();
    for await (const { name, isFile, isFolder, bytes } of entriesOf(
      connection,
      pathOf(root, folder),
      signal,
    )) {
      if (isFolder) entries.set(`${name}/`, 0);
      else if (isFile && !name.startsWith(incomingPrefix)) entries.set(name, bytes);
    }
  };
  await persist(read, signal, policy);
  for (const name of [...entries.keys()].toSorted(compareNames)) {
    signal.throwIfAborted();
    if (name.endsWith("/")) yield* walk(session, [...folder, name.slice(0, -1)], signal);
    else yield { name: [...folder, name].join("/"), bytes: entries.get(name)! };
  }
}

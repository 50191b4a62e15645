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
import { PipelineError } from "../../errors.ts";
import type { DestinationOptions, ListedObject } from "./destination.ts";
import {
  compareNames,
  folderSegmentsOf,
  incomingPrefix,
  mostDepth,
  noFile,
  segmentsOf,
} from "./object-names.ts";
import { type RetryPolicy, TryAgain, patience, persist } from "./retry.ts";
import { nonsense, openConnection } from "./sftp-connection.ts";
import { type Found, removeFile } from "./sftp-files.ts";
import { type Session, clear, pathOf, put } from "./sftp-put.ts";
import { broken, entriesOf, openFile, readFrom } from "./sftp-reading.ts";
import { targetOf } from "./sftp-target.ts";
import type { Probed } from "./store-probe.ts";

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
  const start = {
    ready: new Map(),
    left: new Set<string>(),
    isSynced: undefined,
    isGuarded: undefined,
  };
  const session: Session = { connection, root, policy, ...start };
  return {
    url: url.href,
    get conditional() {
      return session.isGuarded;
    },
    get synced() {
      return session.isSynced;
    },
    put: (object, signal) => put(session, object, signal),
    get: (name, signal) => get(session, name, signal),
    async *list(folder, signal) {
      yield* walk(session, folderSegmentsOf(folder), signal);
    },
    async remove(name, signal) {
      const path = pathOf(root, segmentsOf(name));
      await persist(() => removeFile(connection, path, signal), signal, policy);
    },
    finish: (signal) => clear(session, signal),
    close: async () => connection.close(),
  };
};

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
      if (left <= 1) throw broken(`broke off after ${read} bytes; try again`);
    } finally {
      await file.close();
    }
  }
}

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
  if (folder.length > mostDepth) throw nonsense().failure;
  const entries = new Map<string, number>();
  const read = async () => {
    entries.clear();
    for await (const { name, isFile, isFolder, bytes } of entriesOf(
      connection,
      pathOf(root, folder),
      signal,
    )) {
      const key = isFolder ? `${name}/` : isFile ? name : noFile(name);
      if (entries.has(key)) throw nonsense();
      if (!key.startsWith(incomingPrefix) || isFolder) entries.set(key, bytes);
    }
  };
  await persist(read, signal, policy);
  for (const name of [...entries.keys()].toSorted(compareNames)) {
    signal.throwIfAborted();
    if (name.endsWith("/")) yield* walk(session, [...folder, name.slice(0, -1)], signal);
    else yield { name: [...folder, name].join("/"), bytes: entries.get(name)! };
  }
}

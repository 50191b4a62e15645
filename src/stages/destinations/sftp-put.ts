/** Puts over SFTP: a file is written and synced under a name nobody else has, then given its own, which cannot overwrite. */
import { randomBytes } from "node:crypto";
import { PipelineError } from "../../errors.ts";
import { digestOfParts } from "../durable-file.ts";
import type { StoredObject } from "./destination.ts";
import { incomingPrefix, segmentsOf } from "./object-names.ts";
import { type RetryPolicy, persist } from "./retry.ts";
import type { SftpConnection } from "./sftp-connection.ts";
import { makeFolder, nameOnce, removeFile, statOf, writeFile } from "./sftp-files.ts";
import { entriesOf, openFile, readFrom } from "./sftp-reading.ts";

export interface Session {
  readonly connection: SftpConnection;
  readonly root: string;
  readonly policy: RetryPolicy;
  /** Folders that are there and swept. */
  readonly ready: Map<string, Promise<void>>;
  /** What puts that are over have written and not named. */
  readonly left: Set<string>;
  isSynced: boolean | undefined;
  /** Whether names are given by links, which cannot overwrite. */
  isGuarded: boolean | undefined;
}

export const pathOf = (root: string, segments: readonly string[]) =>
  [root === "/" ? "" : root, ...segments].join("/") || "/";

/** Stores an object, asking again where that may help. */
export async function put(
  session: Session,
  object: StoredObject,
  signal: AbortSignal,
): Promise<void> {
  const segments = segmentsOf(object.name);
  const written = new Set<string>();
  const attempt = () => putOnce(session, segments, { object, written }, signal);
  try {
    await persist(attempt, signal, session.policy);
  } finally {
    for (const path of written) session.left.add(path);
  }
}

/** Removes what puts that are over have left unnamed. What stays is never listed, and goes with the run's next attempt. */
export async function clear({ connection, left }: Session, signal: AbortSignal): Promise<void> {
  for (const path of left) {
    const gone = removeFile(connection, path, signal);
    await gone.then(
      () => left.delete(path),
      () => undefined,
    );
  }
}

interface Putting {
  readonly object: StoredObject;
  /** What attempts have written. Each writes a file of its own: one that was lost may still reach the server. */
  readonly written: Set<string>;
}

async function putOnce(
  session: Session,
  segments: readonly string[],
  { object, written }: Putting,
  signal: AbortSignal,
): Promise<void> {
  const { connection, root } = session;
  const folder = segments.slice(0, -1);
  await ready(session, folder, signal);
  const incoming = pathOf(root, [...folder, incomingPrefix + randomBytes(16).toString("hex")]);
  const path = pathOf(root, segments);
  written.add(incoming);
  session.isSynced = await writeFile(connection, incoming, object.bytes, signal);
  const named = await nameOnce(connection, [incoming, path], session.isGuarded, signal);
  if (named !== "taken") session.isGuarded = named === "linked";
  if (named === "renamed") written.delete(incoming);
  for (const unnamed of written) session.left.add(unnamed);
  await clear(session, signal);
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
  try {
    const isAsLong = file?.bytes === bytes.length;
    if (isAsLong && (await digestOfParts(readFrom(file, 0))).equals(sha256)) return;
  } finally {
    await file?.close();
  }
  throw new PipelineError(
    "foreign-object",
    `${name} is taken by other bytes at the destination; nothing was overwritten`,
    { details: { name } },
  );
}

/** Files written over SFTP (draft 3, with OpenSSH's extensions), and failures in the words of our codes. */
import { PipelineError } from "../../errors.ts";
import { partsOf, type Content } from "../durable-file.ts";
import { TryAgain } from "./retry.ts";
import { type Held, type SftpConnection, nonsense } from "./sftp-connection.ts";

/** Every server takes 32 KiB in one request; some under way at once hide the way there. */
const pieceBytes = 32 * 1024;
const piecesAtOnce = 8;

export interface Found {
  readonly isFile: boolean;
  readonly isFolder: boolean;
  readonly bytes: number;
  readonly changed: number;
}

export const status = { end: 1, noFile: 2, denied: 3, failure: 4, unsupported: 8 } as const;

export const statusOf = (error: unknown): number | undefined => {
  const { code } = error as { code?: unknown };
  return typeof code === "number" ? code : undefined;
};

/** What a server lacks is told by the library before anything is sent. */
const lacks = (error: unknown): boolean =>
  statusOf(error) === status.unsupported ||
  (error instanceof Error && /does not support/.test(error.message));

export function failureOf(error: unknown, doing: string): unknown {
  const code = statusOf(error);
  if (code === undefined) return error;
  const details = { status: code };
  if (code === status.denied)
    return new PipelineError(
      "destination-refused",
      `the SSH server refused ${doing}; check the folder and the rights of its user`,
      { details },
    );
  return new TryAgain(
    new PipelineError(
      "destination-failed",
      `${doing} failed at the SSH server (SFTP status ${code}); is there room left? Try again later`,
      { details },
    ),
  );
}

export async function statOf(
  connection: SftpConnection,
  path: string,
  signal: AbortSignal,
): Promise<Found | undefined> {
  try {
    return foundOf(
      await connection.ask<Attributes>((sftp, done) => sftp.lstat(path, done), signal),
    );
  } catch (error) {
    if (statusOf(error) === status.noFile) return undefined;
    throw failureOf(error, "looking at a file");
  }
}

export interface Attributes {
  readonly size: number;
  readonly mtime: number;
  isFile(): boolean;
  isDirectory(): boolean;
}

/** @throws TryAgain for a file without a size */
export function foundOf(found: Attributes): Found {
  const [isFile, isFolder] = [found.isFile(), found.isDirectory()];
  if (isFile && !Number.isSafeInteger(found.size)) throw nonsense();
  return { isFile, isFolder, bytes: found.size, changed: found.mtime };
}

/** Makes a folder; one that is there is fine. */
export async function makeFolder(
  connection: SftpConnection,
  path: string,
  signal: AbortSignal,
): Promise<void> {
  try {
    await connection.tell((sftp, done) => sftp.mkdir(path, { mode: 0o700 }, done), signal);
  } catch (error) {
    if (statusOf(error) === status.noFile) throw homeless();
    if (statusOf(error) === undefined || !(await statOf(connection, path, signal))?.isFolder)
      throw failureOf(error, "making a folder");
  }
}

const homeless = () =>
  new PipelineError(
    "destination-refused",
    "the SSH server has no folder to make the destination's in; expected the folder above it to be there",
    { details: { status: status.noFile } },
  );

/** Writes a new file whole, and has it synced where the server can. @returns whether it could */
export async function writeFile(
  connection: SftpConnection,
  path: string,
  bytes: Content,
  signal: AbortSignal,
): Promise<boolean> {
  try {
    const file = await connection.hold((sftp, done) => sftp.open(path, "wx", 0o600, done), signal);
    const filled = await fill(file, bytes, signal).catch(async (error: unknown) => {
      await closeQuietly(file, signal);
      throw error;
    });
    await file.tell((sftp, done) => sftp.close(file.handle, done), signal);
    if (filled.bytes === bytes.length) return filled.isSynced;
  } catch (error) {
    throw failureOf(error, "writing a file");
  }
  throw new TryAgain(
    new PipelineError(
      "destination-failed",
      "the SSH server kept a part of a file only; try again later",
    ),
  );
}

async function fill(file: Held, bytes: Content, signal: AbortSignal) {
  const { handle } = file;
  let at = 0;
  for await (const part of partsOf(bytes)) {
    await writePart(file, part, at, signal);
    at += part.length;
  }
  const isSynced = await trying(() =>
    file.tell((sftp, done) => sftp.ext_openssh_fsync(handle, done), signal),
  );
  const { size } = await file.ask<Attributes>((sftp, done) => sftp.fstat(handle, done), signal);
  return { isSynced, bytes: size };
}

async function writePart(
  file: Held,
  part: Uint8Array,
  position: number,
  signal: AbortSignal,
): Promise<void> {
  const write = (start: number) => {
    // What was not sent yet must not change: the lender may use its memory again after an abort.
    const piece = Buffer.from(part.subarray(start, start + pieceBytes));
    return file.tell(
      (sftp, done) => sftp.write(file.handle, piece, 0, piece.length, position + start, done),
      signal,
    );
  };
  for (let at = 0; at < part.length; at += pieceBytes * piecesAtOnce) {
    const starts = Array.from({ length: piecesAtOnce }, (_, i) => at + i * pieceBytes);
    await Promise.all(starts.filter((start) => start < part.length).map(write));
  }
}

/** Whoever has stopped does not wait for it; the server closes what is open with the connection. */
export async function closeQuietly(held: Held | undefined, signal: AbortSignal): Promise<void> {
  if (held === undefined || signal.aborted) return;
  await held.tell((sftp, done) => sftp.close(held.handle, done), signal).catch(() => undefined);
}

/** False where the server lacks what is asked. */
async function trying(work: () => Promise<void>): Promise<boolean> {
  try {
    await work();
    return true;
  } catch (error) {
    if (lacks(error)) return false;
    throw error;
  }
}

/**
 * Gives a finished file its name, which must be free: by a hard link, which cannot overwrite; else by a rename, which
 * SFTP forbids to overwrite, though not all servers obey.
 * @param links whether the server makes links; undefined where that is not known yet
 */
export async function nameOnce(
  connection: SftpConnection,
  [from, to]: readonly [string, string],
  links: boolean | undefined,
  signal: AbortSignal,
): Promise<"linked" | "renamed" | "taken"> {
  const link = () =>
    trying(() =>
      connection.tell((sftp, done) => sftp.ext_openssh_hardlink(from, to, done), signal),
    );
  try {
    // Servers say yes and make none, as rclone's does. Where one was made, the same again is refused.
    if (links !== false && (await link()) && (links || (await isRefused(link)))) return "linked";
    if (await statOf(connection, to, signal)) return "taken";
    await connection.tell((sftp, done) => sftp.rename(from, to, done), signal);
    return "renamed";
  } catch (error) {
    // Servers have one status for all that can go wrong.
    if (statusOf(error) !== undefined && (await statOf(connection, to, signal))) return "taken";
    throw failureOf(error, "giving a file its name");
  }
}

async function isRefused(work: () => Promise<unknown>): Promise<boolean> {
  try {
    await work();
    return false;
  } catch (error) {
    if (statusOf(error) === undefined) throw error;
    return true;
  }
}

export async function removeFile(
  connection: SftpConnection,
  path: string,
  signal: AbortSignal,
): Promise<void> {
  try {
    await connection.tell((sftp, done) => sftp.unlink(path, done), signal);
  } catch (error) {
    if (statusOf(error) !== status.noFile) throw failureOf(error, "removing a file");
  }
}

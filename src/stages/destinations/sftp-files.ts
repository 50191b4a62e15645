/** Files written over SFTP (draft 3, with OpenSSH's extensions), and failures in the words of our codes. */
import { PipelineError } from "../../errors.ts";
import { TryAgain } from "./retry.ts";
import type { SftpConnection } from "./sftp-connection.ts";

/** Every server takes 32 KiB in one request; some under way at once hide the way there. */
const pieceBytes = 32 * 1024;
const piecesAtOnce = 8;

export interface Found {
  readonly isFile: boolean;
  readonly isFolder: boolean;
  readonly bytes: number;
  readonly changed: number;
}

export const status = { noFile: 2, denied: 3, failure: 4, unsupported: 8 } as const;

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
    return await connection.call<Found>(
      (sftp, done) =>
        sftp.lstat(path, (error, found) =>
          error ? done(error, undefined as never) : done(undefined, foundOf(found)),
        ),
      signal,
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

export const foundOf = (found: Attributes): Found => ({
  isFile: found.isFile(),
  isFolder: found.isDirectory(),
  bytes: found.size,
  changed: found.mtime,
});

/** Makes a folder; one that is there is fine. */
export async function makeFolder(
  connection: SftpConnection,
  path: string,
  signal: AbortSignal,
): Promise<void> {
  try {
    await connection.call(
      (sftp, done) => sftp.mkdir(path, { mode: 0o700 }, (error) => done(error)),
      signal,
    );
  } catch (error) {
    if (statusOf(error) === undefined || !(await statOf(connection, path, signal))?.isFolder)
      throw failureOf(error, "making a folder");
  }
}

/** Writes a new file whole, and has it synced where the server can. @returns whether it could */
export async function writeFile(
  connection: SftpConnection,
  path: string,
  bytes: Uint8Array,
  signal: AbortSignal,
): Promise<boolean> {
  const call = <Result = void>(work: Parameters<typeof connection.call<Result>>[0]) =>
    connection.call<Result>(work, signal);
  try {
    const handle = await call<Buffer>((sftp, done) => sftp.open(path, "wx", 0o600, done));
    // What was not sent yet must not change: the lender may use its memory again after an abort.
    const whole = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
    for (let at = 0; at < whole.length; at += pieceBytes * piecesAtOnce) {
      const starts = Array.from({ length: piecesAtOnce }, (_, i) => at + i * pieceBytes);
      await Promise.all(
        starts
          .filter((start) => start < whole.length)
          .map((start) => {
            const piece = Buffer.from(whole.subarray(start, start + pieceBytes));
            return call((sftp, done) =>
              sftp.write(handle, piece, 0, piece.length, start, (error) => done(error, undefined)),
            );
          }),
      );
    }
    const isSynced = await trying(() =>
      call((sftp, done) => sftp.ext_openssh_fsync(handle, (error) => done(error))),
    );
    const { size } = await call<Attributes>((sftp, done) => sftp.fstat(handle, done));
    await call((sftp, done) => sftp.close(handle, (error) => done(error)));
    if (size === whole.length) return isSynced;
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
 */
export async function nameOnce(
  connection: SftpConnection,
  [from, to]: readonly [string, string],
  signal: AbortSignal,
): Promise<"linked" | "renamed" | "taken"> {
  const call = (work: Parameters<typeof connection.call<void>>[0]) => connection.call(work, signal);
  try {
    const isLinked = await trying(() =>
      call((sftp, done) => sftp.ext_openssh_hardlink(from, to, (error) => done(error))),
    );
    if (isLinked) return "linked";
    if (await statOf(connection, to, signal)) return "taken";
    await call((sftp, done) => sftp.rename(from, to, (error) => done(error)));
    return "renamed";
  } catch (error) {
    // Servers have one status for all that can go wrong.
    if (statusOf(error) !== undefined && (await statOf(connection, to, signal))) return "taken";
    throw failureOf(error, "giving a file its name");
  }
}

export async function removeFile(
  connection: SftpConnection,
  path: string,
  signal: AbortSignal,
): Promise<void> {
  try {
    await connection.call((sftp, done) => sftp.unlink(path, (error) => done(error)), signal);
  } catch (error) {
    if (statusOf(error) !== status.noFile) throw failureOf(error, "removing a file");
  }
}

/** Folders and files read over SFTP. */
import type { SftpConnection } from "./sftp-connection.ts";
import {
  type Attributes,
  type Found,
  failureOf,
  foundOf,
  statOf,
  status,
  statusOf,
} from "./sftp-files.ts";

export interface SftpEntry {
  readonly name: string;
  readonly isFolder: boolean;
  readonly isFile: boolean;
  readonly bytes: number;
}

/** What lies in a folder, in the server's order; nothing when there is no folder. */
export async function* entriesOf(
  connection: SftpConnection,
  path: string,
  signal: AbortSignal,
): AsyncGenerator<SftpEntry> {
  type Names = readonly { readonly filename: string; readonly attrs: Attributes }[];
  let handle: Buffer | undefined;
  try {
    handle = await connection.call<Buffer>((sftp, done) => sftp.opendir(path, done), signal);
    const opened = handle;
    for (;;) {
      const names = await connection.call<Names | false>(
        (sftp, done) =>
          sftp.readdir(opened, (error: (Error & { code?: number }) | undefined, list) =>
            error?.code === 1 ? done(undefined, false) : done(error, list),
          ),
        signal,
      );
      if (names === false) return;
      for (const { filename, attrs } of names) {
        if (filename === "." || filename === "..") continue;
        const { isFile, isFolder, bytes } = foundOf(attrs);
        yield { name: filename, isFile, isFolder, bytes };
      }
    }
  } catch (error) {
    if (statusOf(error) !== status.noFile) throw failureOf(error, "listing a folder");
  } finally {
    await closeQuietly(connection, handle, signal);
  }
}

export interface OpenFile extends Found {
  read(start: number, most: number): Promise<Buffer>;
  close(): Promise<void>;
}

/** @returns undefined when there is no such file */
export async function openFile(
  connection: SftpConnection,
  path: string,
  signal: AbortSignal,
): Promise<OpenFile | undefined> {
  try {
    // A symbolic link would lead elsewhere.
    if (!(await statOf(connection, path, signal))?.isFile) return undefined;
    const handle = await connection.call<Buffer>(
      (sftp, done) => sftp.open(path, "r", done),
      signal,
    );
    const close = () => closeQuietly(connection, handle, signal);
    const found = await connection.call<Attributes>(
      (sftp, done) => sftp.fstat(handle, done),
      signal,
    );
    const read = (start: number, most: number) =>
      connection.call<Buffer>((sftp, done) => {
        const piece = Buffer.allocUnsafeSlow(most);
        sftp.read(
          handle,
          piece,
          0,
          most,
          start,
          (error: (Error & { code?: number }) | undefined, bytes) =>
            error?.code === 1
              ? done(undefined, piece.subarray(0, 0))
              : done(error, piece.subarray(0, bytes)),
        );
      }, signal);
    return { ...foundOf(found), read, close };
  } catch (error) {
    if (statusOf(error) === status.noFile) return undefined;
    throw failureOf(error, "opening a file");
  }
}

/** Whoever has stopped does not wait for it; the server closes what is open with the connection. */
async function closeQuietly(
  connection: SftpConnection,
  handle: Buffer | undefined,
  signal: AbortSignal,
): Promise<void> {
  if (handle === undefined || signal.aborted) return;
  await connection
    .call((sftp, done) => sftp.close(handle, (error) => done(error)), signal)
    .catch(() => undefined);
}

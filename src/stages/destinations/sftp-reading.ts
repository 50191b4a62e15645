/** Folders and files read over SFTP. */
import { PipelineError } from "../../errors.ts";
import { createCircleWatch } from "../circle-watch.ts";
import { TryAgain } from "./retry.ts";
import { type Held, type SftpConnection, nonsense } from "./sftp-connection.ts";
import {
  type Attributes,
  type Found,
  closeQuietly,
  failureOf,
  foundOf,
  statOf,
  status,
  statusOf,
} from "./sftp-files.ts";

const pieceBytes = 256 * 1024;

type Status = (Error & { readonly code?: number }) | undefined;

export interface SftpEntry {
  readonly name: string;
  readonly isFolder: boolean;
  readonly isFile: boolean;
  readonly bytes: number;
}

/**
 * What lies in a folder, in the server's order; nothing when there is no folder.
 * @throws TryAgain also for a server that tells the same again and again, or nothing, and never the end
 */
export async function* entriesOf(
  connection: SftpConnection,
  path: string,
  signal: AbortSignal,
): AsyncGenerator<SftpEntry> {
  type Names = readonly { readonly filename: string; readonly attrs: Attributes }[];
  let folder: Held | undefined;
  try {
    const opened = await connection.hold((sftp, done) => sftp.opendir(path, done), signal);
    folder = opened;
    const told = createCircleWatch();
    for (;;) {
      const names = await opened.ask<Names | "end">(
        (sftp, done) =>
          sftp.readdir(opened.handle, (error: Status, list) =>
            error?.code === status.end ? done(undefined, "end") : done(error, list),
          ),
        signal,
      );
      if (names === "end") return;
      if (told.comesAgain(names[0]?.filename ?? "")) throw nonsense();
      for (const { filename, attrs } of names) {
        if (filename === "." || filename === "..") continue;
        if (filename === "" || filename.includes("/")) throw nonsense();
        const { isFile, isFolder, bytes } = foundOf(attrs);
        yield { name: filename, isFile, isFolder, bytes };
      }
    }
  } catch (error) {
    if (statusOf(error) !== status.noFile) throw failureOf(error, "listing a folder");
  } finally {
    await closeQuietly(folder, signal);
  }
}

export interface OpenFile extends Found {
  /** Gives so many bytes, less at the end alone; a server that gives them one by one meets its deadline. */
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
    const file = await connection.hold((sftp, done) => sftp.open(path, "r", done), signal);
    const { handle } = file;
    const close = () => closeQuietly(file, signal);
    const found = await file.ask<Attributes>((sftp, done) => sftp.fstat(handle, done), signal);
    const read = (start: number, most: number) =>
      file.ask<Buffer>((sftp, done) => {
        const piece = Buffer.allocUnsafeSlow(most);
        const fill = (from: number) =>
          sftp.read(handle, piece, from, most - from, start + from, (error: Status, bytes) => {
            // None is how the library tells the end.
            if (error || bytes === 0) done(error, piece.subarray(0, from));
            else if (from + bytes < most) fill(from + bytes);
            else done(undefined, piece);
          });
        fill(0);
      }, signal);
    return { ...foundOf(found), read, close };
  } catch (error) {
    if (statusOf(error) === status.noFile) return undefined;
    throw failureOf(error, "opening a file");
  }
}

/** The bytes of a file behind `start`. @throws TryAgain where it ends early */
export async function* readFrom(file: OpenFile, start: number): AsyncGenerator<Buffer> {
  for (let at = start; at < file.bytes;) {
    const piece = await file
      .read(at, Math.min(pieceBytes, file.bytes - at))
      .catch((error: unknown) => Promise.reject(failureOf(error, "reading a file")));
    if (piece.length === 0) throw new TryAgain(broken(`ends after ${at} of ${file.bytes} bytes`));
    at += piece.length;
    yield piece;
  }
}

export const broken = (what: string) =>
  new PipelineError("destination-failed", `an object ${what}`);

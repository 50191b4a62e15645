/**
 * Work on files for destinations that are files:
 * links that never overwrite, reads that notice a short file, and system errors in the words of our codes.
 */
import { createHash } from "node:crypto";
import { PipelineError, systemCode } from "../../errors.ts";
import { freeBuffer } from "../free-buffer.ts";
import { realDisk, type Disk, type DiskFile, type Found } from "../world.ts";

const pieceBytes = 2 ** 20;

const withoutLinks = new Set(["EPERM", "ENOSYS", "ENOTSUP", "EOPNOTSUPP", "EMLINK"]);

/**
 * Gives a finished file its name; false when the name is taken. A hard link is the one portable call that cannot
 * overwrite, so a file system without them is refused rather than trusted.
 */
export async function linkOnce(from: string, to: string, disk: Disk = realDisk): Promise<boolean> {
  try {
    await disk.link(from, to);
    return true;
  } catch (error) {
    const code = systemCode(error) ?? "";
    if (code === "EEXIST") return false;
    if (!withoutLinks.has(code)) throw error;
    throw new PipelineError(
      "destination-refused",
      "the file system of the destination has no hard links, so nothing there is safe from being " +
        "overwritten; choose a folder on another file system",
      { cause: error },
    );
  }
}

/** What lies at a path, itself and not what it points to; undefined when nothing does. */
export async function statOf(path: string, disk: Disk = realDisk): Promise<Found | undefined> {
  try {
    return await disk.lstat(path);
  } catch (error) {
    if (systemCode(error) === "ENOENT") return undefined;
    throw error;
  }
}

/**
 * Reads `length` bytes from `start` in pieces of at most 1 MiB, one after another in the same memory.
 * @throws PipelineError `destination-failed` when the file ends early.
 */
export async function* readPieces(
  file: Pick<DiskFile, "read">,
  start: number,
  length: number,
  signal: AbortSignal,
): AsyncGenerator<Uint8Array> {
  const memory = Buffer.allocUnsafeSlow(Math.min(pieceBytes, length));
  let done = 0;
  while (done < length) {
    signal.throwIfAborted();
    const most = Math.min(memory.length, length - done);
    const { bytesRead } = await file.read(memory, 0, most, start + done);
    if (bytesRead === 0) {
      throw new PipelineError(
        "destination-failed",
        `an object ends after ${done} bytes; expected ${length}`,
      );
    }
    done += bytesRead;
    yield memory.subarray(0, bytesRead);
  }
  freeBuffer(memory);
}

/** SHA-256 of `length` bytes of a file from `start`. */
export async function digestOf(
  file: Pick<DiskFile, "read">,
  start: number,
  length: number,
  signal: AbortSignal,
): Promise<Buffer> {
  const hash = createHash("sha256");
  for await (const piece of readPieces(file, start, length, signal)) hash.update(piece);
  return hash.digest();
}

const full = new Set(["ENOSPC", "EDQUOT", "EFBIG"]);
const refused = new Set([
  "EACCES",
  "EPERM",
  "EROFS",
  "ENOTDIR",
  "EISDIR",
  "ELOOP",
  "ENAMETOOLONG",
  "EINVAL",
]);

/** True when the error says that the destination is full. */
export function isFull(error: unknown): boolean {
  return full.has(systemCode(error) ?? "");
}

/**
 * Runs file work and turns system errors into ours; the signal's own reason wins over what it caused.
 * @throws PipelineError `destination-refused` (rights, read-only, not a folder), `destination-failed` (all else).
 */
export async function guard<Result>(
  doing: string,
  signal: AbortSignal,
  work: () => Promise<Result>,
): Promise<Result> {
  try {
    signal.throwIfAborted();
    return await work();
  } catch (error) {
    throw failureOf(doing, signal, error);
  }
}

/** The error to throw in place of one that file work threw. */
export function failureOf(doing: string, signal: AbortSignal, error: unknown): unknown {
  if (signal.aborted) return signal.reason;
  if (error instanceof PipelineError) return error;
  const code = systemCode(error);
  if (code === undefined) return error;
  if (isFull(error)) {
    return new PipelineError(
      "destination-failed",
      `no space left at the destination while ${doing}; free some, then run again`,
      { cause: error, details: { code } },
    );
  }
  if (refused.has(code)) {
    return new PipelineError(
      "destination-refused",
      `the destination refused ${doing} (${code}); check its path and its permissions`,
      { cause: error, details: { code } },
    );
  }
  return new PipelineError("destination-failed", `${doing} failed at the destination (${code})`, {
    cause: error,
    details: { code },
  });
}

/** Room in the spool and on its disk: both are waited for, both waits have a deadline. */
import { formatBytes } from "../atoms.ts";
import { PipelineError, isAbort, systemCode } from "../../errors.ts";
import { untilAborted } from "../until-aborted.ts";
import { realClock, type Clock } from "../world.ts";

/** A release wakes the waiter; this is only how often a disk that was full is tried again. */
const retryMillis = 250;

/** What most file systems give out at once. */
const blockBytes = 4096;

/** What a file takes of the disk: small pages would otherwise fill it long before the cap. */
export const diskBytes = (fileBytes: number): number =>
  Math.ceil(fileBytes / blockBytes) * blockBytes;

export interface RoomLimits {
  readonly maxBytes: number;
  readonly fullTimeoutMillis: number;
}

export interface Room {
  readonly usedBytes: number;
  readonly peakBytes: number;
  /** Whether `bytes` more fit under the cap now. */
  fits(bytes: number): boolean;
  /** Waits until `bytes` more fit under the cap; a page alone always does. */
  take(bytes: number, signal: AbortSignal): Promise<void>;
  give(bytes: number): void;
  /** Does the work again and again while the disk is full. */
  whenDiskHasRoom(work: () => Promise<void>, signal: AbortSignal): Promise<void>;
}

/** @param limits the cap, and how long to wait for room; @param heldBytes what lies in the spool already */
export function createRoom(
  { maxBytes, fullTimeoutMillis }: RoomLimits,
  heldBytes: number,
  clock: Clock = realClock,
): Room {
  let usedBytes = heldBytes;
  let peakBytes = heldBytes;
  let released = Promise.withResolvers<void>();
  const fits = (bytes: number) => usedBytes === 0 || usedBytes + bytes <= maxBytes;

  return {
    fits,
    get usedBytes() {
      return usedBytes;
    },
    get peakBytes() {
      return peakBytes;
    },
    async take(bytes, signal) {
      const deadline = clock.now() + fullTimeoutMillis;
      while (!fits(bytes)) {
        if (clock.now() > deadline) throw spoolFull(maxBytes);
        await pause(clock, signal, released.promise);
      }
      usedBytes += bytes;
      peakBytes = Math.max(peakBytes, usedBytes);
    },
    give(bytes) {
      usedBytes -= bytes;
      released.resolve();
      released = Promise.withResolvers();
    },
    async whenDiskHasRoom(work, signal) {
      const deadline = clock.now() + fullTimeoutMillis;
      for (;;) {
        try {
          await work();
          return;
        } catch (error) {
          if (!isFull(error) || clock.now() > deadline) throw toSpoolError(error);
          await pause(clock, signal);
        }
      }
    },
  };
}

/** Waits a while, or until `wake`. */
async function pause(clock: Clock, signal: AbortSignal, wake?: Promise<void>): Promise<void> {
  const { promise, resolve } = Promise.withResolvers<void>();
  const callOff = clock.after(retryMillis, resolve);
  void wake?.then(resolve);
  await untilAborted(promise, signal).finally(callOff);
}

function spoolFull(maxBytes: number): PipelineError {
  return new PipelineError(
    "spool-full",
    `spool: full at ${formatBytes(maxBytes)} and the destination takes nothing; run again when it does, or raise \`spool.maxBytes\``,
  );
}

const fullCodes = new Set<string | undefined>(["ENOSPC", "EDQUOT"]);
const isFull = (error: unknown) => fullCodes.has(systemCode(error));

/** What a file operation of the spool failed with, in the words of the run: resumable (exit 75). */
export function toSpoolError(cause: unknown): unknown {
  if (cause instanceof PipelineError || isAbort(cause)) return cause;
  if (!isFull(cause)) return spoolFailed(cause);
  return new PipelineError("disk-full", "spool: the disk is full; make room and run again", {
    cause,
  });
}

/** Does work on the spool's files; throws what the run understands. */
export async function onDisk<T>(work: () => Promise<T>): Promise<T> {
  try {
    return await work();
  } catch (error) {
    throw toSpoolError(error);
  }
}

/** What people may read of an error of the disk: its code alone. */
export const codeText = (cause: unknown): string => systemCode(cause) ?? "unknown error";

export function spoolFailed(cause: unknown): PipelineError {
  return new PipelineError(
    "spool-failed",
    `spool: the disk refused (${codeText(cause)}); what was durable stays so, run again`,
    { cause },
  );
}

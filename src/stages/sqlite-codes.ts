/** What SQLite calls its failures, and how the lock of another process is waited for. */
import { setTimeout as sleep } from "node:timers/promises";

/** Result codes (https://www.sqlite.org/rescode.html). */
export const sqlite = {
  busy: 5,
  locked: 6,
  noMemory: 7,
  readOnly: 8,
  ioError: 10,
  corrupt: 11,
  full: 13,
  cannotOpen: 14,
  tooBig: 18,
  notADatabase: 26,
} as const;

export function codeOf(error: unknown): number | undefined {
  const code = (error as { errcode?: unknown } | undefined)?.errcode;
  // The low byte is the kind of error, the rest tells variants of it apart.
  return typeof code === "number" ? code & 0xff : undefined;
}

/** How often a lock that another process holds is asked for. */
const lockPauseMillis = 20;

/** Does the work once no lock is in its way. SQLite's own wait would hold up everything else in this thread. */
export async function waitForLock<T>(
  work: () => T,
  lockMillis: number,
  signal: AbortSignal,
): Promise<T> {
  const deadline = performance.now() + lockMillis;
  for (;;) {
    signal.throwIfAborted();
    try {
      return work();
    } catch (error) {
      if (codeOf(error) !== sqlite.busy || performance.now() > deadline) throw error;
    }
    await sleep(lockPauseMillis, undefined, { signal });
  }
}

/** Ctrl-C and SIGTERM: the first asks the work to stop cleanly, the second ends the process at once. */
import { PipelineError } from "../errors.ts";

export interface Interrupt {
  readonly signal: AbortSignal;
  /** Rejects with the reason when the work has not ended a while after it was asked to. */
  readonly overdue: Promise<never>;
  /** Signals do what they always do again. */
  dispose(): void;
}

/** npm and a starting shell pass on the signal that the terminal has sent already: two this close are one key press. */
const echoMillis = 300;
/** What is on its way reaches the disk in this time, or is made again: nobody waits for a disk or a server that hangs. */
const graceMillis = 1200;

/**
 * Listens for SIGINT and SIGTERM.
 * @param reason what the work ends with
 * @param onFirst called at the first signal, to say that it was heard
 * @param onSecond called right before the process ends
 */
export function listenForInterrupt(
  reason: () => PipelineError,
  onFirst: () => void,
  onSecond = () => {},
): Interrupt {
  const controller = new AbortController();
  const overdue = Promise.withResolvers<never>();
  // Most work ends in time, and then nobody waits for this.
  overdue.promise.catch(() => {});
  let firstAt: number | undefined;
  let grace: NodeJS.Timeout | undefined;
  const hear = () => {
    const now = performance.now();
    if (firstAt === undefined) {
      firstAt = now;
      onFirst();
      controller.abort(reason());
      grace = setTimeout(() => overdue.reject(controller.signal.reason), graceMillis);
    } else if (now - firstAt > echoMillis) {
      onSecond();
      endNow(130);
    }
  };
  for (const name of signals) {
    // Those that stood in while the command was loaded (bin/spillway.js). They go last: without any listener, a signal
    // that has come but is not yet told would be told to nobody.
    const early = process.listeners(name);
    process.on(name, hear);
    for (const listener of early) process.off(name, listener);
  }
  return {
    signal: controller.signal,
    overdue: overdue.promise,
    dispose() {
      clearTimeout(grace);
      for (const name of signals) process.off(name, hear);
    },
  };
}

const signals = ["SIGINT", "SIGTERM"] as const;

/**
 * Ends the process whatever it is in the middle of. `process.exit` waits for file operations under way, and a disk that
 * hangs would hold us for as long; a process that becomes another one leaves them behind.
 */
export function endNow(code: number): never {
  try {
    process.execve?.(process.execPath, [process.execPath, "-e", `process.exit(${code})`], {});
  } catch {
    // Not on this platform, or not permitted.
  }
  return process.exit(code);
}

/** For verbs that have nothing to take up later. */
export const interrupted = (): PipelineError =>
  new PipelineError("interrupted", "interrupted before the end");

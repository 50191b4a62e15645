/** Worker threads for work on bytes: the only file that knows piscina. */
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { Piscina } from "piscina";
import { PipelineError, isAbort, kindOf, systemCode } from "../errors.ts";
import type { SealedResult, SealTask } from "./seal.ts";
import type { Failure } from "./seal-worker.ts";

export interface Pool {
  readonly threads: number;
  /** Tasks handed to workers and not yet answered. */
  readonly inFlight: number;
  /**
   * Compresses, identifies, encrypts and checks one page in a worker. The page stays where it lies, so a page
   * whose worker dies is tried again.
   * @throws PipelineError `internal` after three deaths on one page, or what the work itself found
   */
  seal(task: SealTask, signal: AbortSignal): Promise<SealedResult>;
  close(): Promise<void>;
}

const attemptsMost = 3;
/** A page takes milliseconds; a worker that needs this long is stuck. */
const deadlineMillis = 120_000;
const looksADeadline = 4;
/** Pages under way at the end are a few milliseconds from done. */
const closeMillis = 2000;

/** Starts `threads` workers and keeps them until `close`. */
export function createPool(threads: number): Pool {
  // The build turns `.ts` into `.js`; the worker's file has whichever ending this one has.
  const ending = import.meta.filename.endsWith(".ts") ? "ts" : "js";
  const piscina = new Piscina({
    // A path: of a URL, piscina would make one for each task.
    filename: join(import.meta.dirname, `seal-worker.${ending}`),
    name: "seal",
    minThreads: threads,
    maxThreads: threads,
    idleTimeout: Number.POSITIVE_INFINITY,
    recordTiming: false,
  });
  // An answer that crosses with an abort finds no task and is emitted as an error, which would end the process.
  // What becomes of a page is told by its own promise; but threads that do not start are not replaced, and nobody is left.
  let unstarted: unknown;
  piscina.on("error", (error) => {
    if (piscina.threads.length > 0) return;
    unstarted = error;
    void piscina.destroy();
  });
  let inFlight = 0;
  let closed = false;

  const watchdog = createWatchdog();
  const running = new Set<Promise<unknown>>();
  const unlessAborted = createWaits();

  const attempt = async (task: SealTask, signal: AbortSignal): Promise<SealedResult> => {
    if (unstarted) throw noWorker(unstarted);
    const work = piscina.run(task, { signal: watchdog.signal });
    const settle = () => void running.delete(work);
    running.add(work);
    work.then(settle, settle);
    const answer = (await unlessAborted(work, signal)) as SealedResult | Failure;
    if ("failed" in answer) throw new PipelineError(answer.failed.code, answer.failed.message);
    return answer;
  };

  return {
    threads,
    get inFlight() {
      return inFlight;
    },
    async seal(task, signal) {
      if (closed) throw new PipelineError("internal", "seal: the worker pool is closed");
      inFlight += 1;
      try {
        return await withRetries(() => attempt(task, signal), signal, task.identity.page);
      } finally {
        inFlight -= 1;
      }
    },
    async close() {
      if (closed) return;
      closed = true;
      const rest = new AbortController();
      const late = sleep(closeMillis, undefined, { signal: rest.signal }).catch(() => {});
      await Promise.race([Promise.allSettled(running), late]);
      rest.abort();
      watchdog.end();
      await piscina.destroy();
    },
  };
}

const noWorker = (cause: unknown) =>
  new PipelineError(
    "internal",
    `seal: no worker starts (${systemCode(cause) ?? kindOf(cause)}); where code is not all there, install spillway again`,
    { cause },
  );

/**
 * Notices workers that are stuck: one that keeps a page for so long is ended, whatever others answer, and the page is tried
 * again. One timer and one list for all pages: a timer and a controller for each are dear where pages are small.
 */
function createWatchdog() {
  /** What ends the work on a page, oldest first, and how many looks there had been when it began. */
  const underWay = new Map<() => void, number>();
  let looks = 0;
  const look = () => {
    looks += 1;
    for (const [stop, since] of underWay) {
      if (looks - since <= looksADeadline) break;
      underWay.delete(stop);
      stop();
    }
  };
  const timer = setInterval(look, deadlineMillis / looksADeadline).unref();
  return {
    /** As much of a signal as piscina asks for; it listens while it has the task. */
    signal: {
      addEventListener: (_name: "abort", stop: () => void) => void underWay.set(stop, looks),
      removeEventListener: (_name: "abort", stop: () => void) => void underWay.delete(stop),
    },
    end: () => clearInterval(timer),
  };
}

/**
 * Makes what waits for an answer, or for the signal's reason as soon as it fires. The worker finishes its page all the same:
 * ending a thread in the middle of zlib can end the process. The pages under way share a listener, which goes with the last
 * of them. (`AbortSignal.any` would keep 2 KB a page.)
 */
function createWaits() {
  const stops = new Map<AbortSignal, { all: Set<(reason: unknown) => void>; stop: () => void }>();
  const listen = (signal: AbortSignal) => {
    const all = new Set<(reason: unknown) => void>();
    const stop = () => {
      for (const reject of all) reject(signal.reason);
    };
    signal.addEventListener("abort", stop, { once: true });
    const listening = { all, stop };
    stops.set(signal, listening);
    return listening;
  };
  return <T>(work: Promise<T>, signal: AbortSignal): Promise<T> =>
    new Promise((resolve, reject) => {
      signal.throwIfAborted();
      const { all, stop } = stops.get(signal) ?? listen(signal);
      const end = () => {
        all.delete(reject);
        if (all.size > 0 || !stops.delete(signal)) return;
        signal.removeEventListener("abort", stop);
      };
      all.add(reject);
      work.then(resolve, reject).finally(end);
    });
}

async function withRetries(
  attempt: () => Promise<SealedResult>,
  signal: AbortSignal,
  page: number,
): Promise<SealedResult> {
  for (let tries = 1; ; tries += 1) {
    try {
      return await attempt();
    } catch (error) {
      signal.throwIfAborted();
      if (error instanceof PipelineError) throw error;
      if (tries === attemptsMost) {
        const what = isAbort(error) ? "did not answer in 2 minutes" : "died";
        throw new PipelineError(
          "internal",
          `seal: a worker ${what} ${attemptsMost} times on page ${page}`,
          { cause: error },
        );
      }
    }
  }
}

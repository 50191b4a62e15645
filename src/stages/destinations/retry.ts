/**
 * Asking again: at most so many attempts in so much time, with full jitter between them, so that many exporters
 * that fail together do not come back together (M. Brooker, "Exponential Backoff and Jitter", AWS, 2015).
 */
import { setTimeout as sleep } from "node:timers/promises";
import pRetry from "p-retry";
import type { PipelineError } from "../../errors.ts";

export interface RetryPolicy {
  readonly attempts: number;
  /** The first wait is a random part of this; each next one of twice as much. */
  readonly firstMillis: number;
  readonly longestMillis: number;
  /** No attempt starts later than this. */
  readonly totalMillis: number;
}

export const patience: RetryPolicy = {
  attempts: 6,
  firstMillis: 250,
  longestMillis: 30_000,
  totalMillis: 300_000,
};

/** Thrown by an attempt that another one may mend; `failure` is thrown when none did. */
export class TryAgain extends Error {
  readonly failure: PipelineError;
  /** What the other side asked us to wait (`Retry-After`). */
  readonly waitMillis: number;

  constructor(failure: PipelineError, waitMillis = 0) {
    super(failure.message, { cause: failure });
    this.failure = failure;
    this.waitMillis = waitMillis;
  }
}

/**
 * Runs `attempt` until it succeeds, fails with anything but `TryAgain`, or the policy is used up.
 * @throws the last `TryAgain`'s failure, or the signal's reason.
 */
export async function persist<Result>(
  attempt: () => Promise<Result>,
  signal: AbortSignal,
  policy: RetryPolicy,
): Promise<Result> {
  try {
    return await pRetry(attempt, {
      retries: policy.attempts - 1,
      // The wait is ours: p-retry knows neither full jitter nor Retry-After.
      minTimeout: 0,
      maxRetryTime: policy.totalMillis,
      signal,
      shouldRetry: async ({ error, attemptNumber }) => {
        if (!(error instanceof TryAgain)) return false;
        const wait = waitMillis(error, attemptNumber, policy);
        await sleep(wait, undefined, { signal }).catch(() => undefined);
        return true;
      },
    });
  } catch (error) {
    throw error instanceof TryAgain ? error.failure : error;
  }
}

function waitMillis(error: TryAgain, attemptNumber: number, policy: RetryPolicy): number {
  const ceiling = policy.firstMillis * 2 ** (attemptNumber - 1);
  const jitter = Math.random() * Math.min(ceiling, policy.longestMillis);
  // An absurd Retry-After must not hold a run for a day.
  return Math.max(jitter, Math.min(error.waitMillis, policy.longestMillis));
}

/** `Retry-After` in milliseconds: seconds or an HTTP date (RFC 9110 §10.2.3); 0 when absent or unreadable. */
export function retryAfterMillis(header: string | undefined): number {
  if (header === undefined) return 0;
  if (/^\d{1,9}$/.test(header)) return Number(header) * 1000;
  const until = Date.parse(header);
  return Number.isNaN(until) ? 0 : Math.max(0, until - Date.now());
}

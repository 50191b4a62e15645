/** Waits for what may never come, no longer than a signal lets it. */

/**
 * What `promise` gives; rejects with the signal's reason as soon as it fires. The promise itself goes on unheard.
 * Made of listeners that are taken off again: a race against one long promise would keep every loser until its end.
 */
export function untilAborted<T>(promise: PromiseLike<T>, signal: AbortSignal): Promise<T> {
  const { promise: settled, resolve, reject } = Promise.withResolvers<T>();
  const stop = () => reject(signal.reason);
  if (signal.aborted) stop();
  else signal.addEventListener("abort", stop, { once: true });
  promise.then(resolve, reject);
  return settled.finally(() => signal.removeEventListener("abort", stop));
}

/** Waits for work, but not for ever. */

/** True when `work` has settled in time, whichever way; it goes on by itself otherwise. */
export async function settlesWithin(millis: number, work: Promise<unknown>): Promise<boolean> {
  const { promise: late, resolve } = Promise.withResolvers<boolean>();
  const timer = setTimeout(() => resolve(false), millis);
  const settled = work.then(
    () => true,
    () => true,
  );
  try {
    return await Promise.race([settled, late]);
  } finally {
    clearTimeout(timer);
  }
}

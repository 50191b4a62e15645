/** Work that many ask for and that is done once for all of them. */

/**
 * Makes a function that does `work` one at a time: whoever asks while it is under way shares the next one, which begins
 * when this one ends. What was there when somebody asked is thus always covered; a failure reaches all who wait.
 */
export function shareNext(work: () => Promise<void>): () => Promise<void> {
  let running: Promise<void> | undefined;
  let next: Promise<void> | undefined;
  const begin = async () => {
    try {
      await work();
    } finally {
      running = undefined;
    }
  };
  const follow = () => {
    next = undefined;
    return (running = begin());
  };
  return () => {
    if (next) return next;
    if (!running) return (running = begin());
    next = running.then(follow, (error: unknown) => {
      next = undefined;
      throw error;
    });
    return next;
  };
}

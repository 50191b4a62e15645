/** A window of work in flight over a stream of items: several at once, results in order. */

export interface OrderedWindow<Item> {
  /** How many items are worked on at once. */
  readonly width: number;
  /** Ends the work, with its reason. */
  readonly signal: AbortSignal;
  /** Releases an item or a result that nobody will take, after a failure or an early return. */
  readonly discard?: (unwanted: Item) => void;
}

/**
 * Starts `work` on up to `width` items and gives the results in the order of the items. Input is pulled only while the
 * window has room, and a finished head is given on at once, even while the input is silent.
 * @param work its signal fires too when the result is wanted no more, so that one failure does not wait for the rest
 */
export async function* mapOrdered<In, Out>(
  input: AsyncIterable<In>,
  { width, signal, discard = () => {} }: OrderedWindow<In | Out>,
  work: (item: In, signal: AbortSignal) => Promise<Out>,
): AsyncGenerator<Out> {
  const source = input[Symbol.asyncIterator]();
  const running: UnderWay<Out>[] = [];
  const over = new AbortController();
  const wanted = AbortSignal.any([signal, over.signal]);
  let pull: UnderWay<IteratorResult<In>> | undefined;
  let ended = false;
  let wake = () => {};
  const watch = <T>(promise: Promise<T>): UnderWay<T> => {
    const watched = { promise, isSettled: false };
    const settle = () => {
      watched.isSettled = true;
      wake();
    };
    // A failure is met when its turn comes; until then it is no unhandled rejection.
    promise.then(settle, settle);
    return watched;
  };
  try {
    while (!ended || running.length > 0) {
      if (!ended && !pull && running.length < width) pull = watch(source.next());
      const [head] = running;
      if (head && (!pull || head.isSettled)) {
        const result = await head.promise;
        void running.shift();
        yield result;
      } else if (!head || pull!.isSettled) {
        const next = await pull!.promise;
        pull = undefined;
        if (next.done) ended = true;
        else running.push(watch(work(next.value, wanted)));
      } else await new Promise<void>((resolve) => (wake = resolve));
    }
  } finally {
    over.abort();
    const closed = ended ? undefined : close(source, pull?.promise, discard);
    const rest = await Promise.allSettled(running.map(({ promise }) => promise));
    for (const one of rest) if (one.status === "fulfilled") discard(one.value);
    // A pull that hangs is ended by the run's signal, not waited for here.
    if (!pull) await closed;
  }
}

/** Asked whether it has settled, rather than raced for: a race makes five promises, and leaves them with what is slow. */
interface UnderWay<T> {
  readonly promise: Promise<T>;
  readonly isSettled: boolean;
}

/** Closes the source, behind an item it was asked for and that comes too late. */
async function close<In>(
  source: AsyncIterator<In>,
  pull: Promise<IteratorResult<In>> | undefined,
  discard: (unwanted: In) => void,
): Promise<void> {
  const late = pull?.then(
    ({ done, value }) => (done ? undefined : discard(value)),
    () => {},
  );
  // Nobody waits for it when there was such an item, and the failure that ended the work is the one to be told.
  await Promise.allSettled([late, source.return?.()]);
}

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
  const running: Promise<Out>[] = [];
  const over = new AbortController();
  const wanted = AbortSignal.any([signal, over.signal]);
  let pull: Promise<IteratorResult<In>> | undefined;
  let ended = false;
  try {
    while (!ended || running.length > 0) {
      if (!ended && !pull && running.length < width) pull = source.next();
      const [head] = running;
      if (head && (!pull || (await isFirst(head, pull)))) {
        const result = await head;
        void running.shift();
        yield result;
      } else {
        const next = await pull!;
        pull = undefined;
        if (next.done) ended = true;
        else running.push(silence(work(next.value, wanted)));
      }
    }
  } finally {
    over.abort();
    const closed = ended ? undefined : close(source, pull, discard);
    const rest = await Promise.allSettled(running);
    for (const one of rest) if (one.status === "fulfilled") discard(one.value);
    // A pull that hangs is ended by the run's signal, not waited for here.
    if (!pull) await closed;
  }
}

const yes = () => true;
const no = () => false;

/** True when the oldest work is done (or failed) before the next item is there. */
const isFirst = (head: Promise<unknown>, pull: Promise<unknown>): Promise<boolean> =>
  Promise.race([head.then(yes, yes), pull.then(no, no)]);

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

/** A failure is met when its turn comes; until then it is no unhandled rejection. */
function silence<T>(promise: Promise<T>): Promise<T> {
  promise.catch(() => {});
  return promise;
}

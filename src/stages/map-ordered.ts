/** A window of work in flight over a stream of items: several at once, results in order. */

/**
 * Starts `work` on up to `width` items and gives the results in the order of the items. Input is pulled only while the
 * window has room, and a finished head is given on at once, even while the input is silent.
 * @param discard releases a result nobody will take, after a failure or an early return
 */
export async function* mapOrdered<In, Out>(
  input: AsyncIterable<In>,
  width: number,
  work: (item: In) => Promise<Out>,
  discard: (result: Out) => void = () => {},
): AsyncGenerator<Out> {
  const source = input[Symbol.asyncIterator]();
  const running: Promise<Out>[] = [];
  let pull: Promise<IteratorResult<In>> | undefined;
  let ended = false;
  try {
    while (!ended || running.length > 0) {
      if (!ended && !pull && running.length < width) pull = source.next();
      if (await headIsFirst(running[0], pull)) {
        const result = await running[0]!;
        void running.shift();
        yield result;
      } else {
        const next = await pull!;
        pull = undefined;
        if (next.done) ended = true;
        else running.push(silence(work(next.value)));
      }
    }
  } finally {
    const rest = await Promise.allSettled(running);
    for (const one of rest) if (one.status === "fulfilled") discard(one.value);
    // A pull that hangs is ended by the run's signal, not waited for here.
    if (pull) void pull.then(undefined, () => {});
    else if (!ended) await source.return?.();
  }
}

/** True when the oldest work is done (or failed) before the next item is there. */
async function headIsFirst(head: Promise<unknown> | undefined, pull: Promise<unknown> | undefined) {
  if (!head) return false;
  if (!pull) return true;
  const yes = () => true;
  const no = () => false;
  return await Promise.race([head.then(yes, yes), pull.then(no, no)]);
}

/** A failure is met when its turn comes; until then it is no unhandled rejection. */
function silence<T>(promise: Promise<T>): Promise<T> {
  promise.catch(() => {});
  return promise;
}

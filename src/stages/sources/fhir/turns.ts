/**
 * Several lanes of items read at once, given on in an order that time has no part in: each lane in turn, as far as it
 * says itself. A lane works ahead by one item while others have their turn, and its server with it.
 */

/** What a lane gives where the next one has its turn. */
export const turn = Symbol("turn");

export type Lane<Item> = (signal: AbortSignal) => AsyncGenerator<Item | typeof turn>;

interface Running<Item> {
  readonly items: AsyncGenerator<Item | typeof turn>;
  next: Promise<IteratorResult<Item | typeof turn>>;
}

/**
 * The items of all lanes, `width` of them open at once; where one ends, the next one takes its place. An item is valid
 * until the next is asked for.
 */
export async function* takeTurns<Item>(
  lanes: Iterable<Lane<Item>>,
  width: number,
  signal: AbortSignal,
): AsyncGenerator<Item> {
  const over = new AbortController();
  const wanted = AbortSignal.any([signal, over.signal]);
  const waiting = lanes[Symbol.iterator]();
  const running: Running<Item>[] = [];
  const open = (): Running<Item> | undefined => {
    const lane = waiting.next();
    if (lane.done) return undefined;
    const items = lane.value(wanted);
    return { items, next: silence(items.next()) };
  };
  try {
    while (running.length < width) {
      const lane = open();
      if (!lane) break;
      running.push(lane);
    }
    // The lane whose turn it is stands first.
    while (running.length > 0) {
      const lane = running[0]!;
      const { done, value } = await lane.next;
      if (!done && value !== turn) yield value;
      if (!done) lane.next = silence(lane.items.next());
      if (!done && value !== turn) continue;
      const next = done ? open() : lane;
      void running.shift();
      if (next) running.push(next);
    }
  } finally {
    over.abort();
    await Promise.allSettled(running.map(({ items }) => items.return(undefined)));
  }
}

/** A failure is met when its turn comes; until then it is no unhandled rejection. */
function silence<T>(promise: Promise<T>): Promise<T> {
  promise.catch(() => {});
  return promise;
}

/** Memory for page-sized bytes, and a deterministic free for what the garbage collector would let pile up in a worker. */

// Node hands out slices of one shared pool for small Buffers; memory larger than this is never that pool.
const poolBytesAtMost = 128 * 1024;

const isOwnedWhole = (view: Uint8Array): boolean =>
  view.buffer instanceof ArrayBuffer && view.byteLength === view.buffer.byteLength;

/** Memory that holds nothing else and is not cleared: for whoever fills all of it. */
export const takeMemory = (bytes: number): Uint8Array<ArrayBuffer> =>
  new Uint8Array(Buffer.allocUnsafeSlow(bytes).buffer);

/**
 * Gives the memory below `view` back at once; the view is empty afterwards. Does nothing where the memory is shared
 * or `view` is only a part of it: the rest may belong to others. Call it only with memory that nobody else looks at.
 */
export function freeBuffer(view: Uint8Array): void {
  const memory = view.buffer;
  if (memory instanceof ArrayBuffer && isOwnedWhole(view) && view.byteLength > 0)
    memory.transfer(0);
}

/** How much memory zlib is asked to take for a result of at most `bytes`: so much that it takes none of Node's pool. */
export const zlibMemoryBytes = (bytes: number): number => Math.max(bytes, poolBytesAtMost + 1);

/**
 * The same for what zlib has just returned: a view on the larger memory it wrote to (`zlibMemoryBytes`), which it gave to
 * nobody else. What may lie in Node's pool is left to the garbage collector.
 */
export function freeZlibOutput(view: Uint8Array): void {
  const memory = view.buffer;
  if (memory instanceof ArrayBuffer && memory.byteLength > poolBytesAtMost) memory.transfer(0);
  else freeBuffer(view);
}

/** What zlib has just returned, in memory that holds nothing else; a copy where it is not so already. */
export function ownZlibOutput(view: Uint8Array): Uint8Array {
  if (isOwnedWhole(view)) return view;
  const bytes = takeMemory(view.length);
  bytes.set(view);
  freeZlibOutput(view);
  return bytes;
}

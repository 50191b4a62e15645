/** A deterministic free for buffers that the garbage collector would let pile up in a worker's small heap. */

// Node hands out slices of one shared pool for small Buffers; memory larger than this is never that pool.
const poolBytesAtMost = 128 * 1024;

/**
 * Gives the memory below `view` back at once; the view is empty afterwards. Does nothing where the memory is shared
 * or may belong to others too. Call it only with memory that nobody else looks at.
 */
export function freeBuffer(view: Uint8Array): void {
  const memory = view.buffer;
  if (!(memory instanceof ArrayBuffer)) return;
  const ownedWhole = view.byteLength === memory.byteLength && view.byteLength > 0;
  if (ownedWhole || memory.byteLength > poolBytesAtMost) memory.transfer(0);
}

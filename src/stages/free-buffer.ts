/** A deterministic free for memory that the garbage collector would let pile up. (Workers, who know no stage, have their own.) */

/**
 * Gives the memory below `view` back at once; the view is empty afterwards. Does nothing where the memory is shared or
 * `view` is only a part of it. Call it only with memory that nobody else looks at.
 */
export function freeBuffer({ buffer, byteLength }: Uint8Array): void {
  if (buffer instanceof ArrayBuffer && buffer.byteLength === byteLength) buffer.transfer(0);
}

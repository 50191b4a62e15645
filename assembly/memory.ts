/**
 * Where a record goes, and how bytes get there.
 *
 * Vectors are loaded and stored whole, so up to 15 bytes beyond what is meant are read and written: behind every region of
 * the memory lies that much room.
 */

/** Longer runs are left to the engine's own copy. */
const wideBytes: usize = 512;

/** Writes `bytes` bytes of `from` at `to`; gives where they end. */
export function copy(to: usize, from: usize, bytes: usize): usize {
  if (bytes > wideBytes) memory.copy(to, from, bytes);
  else for (let i: usize = 0; i < bytes; i += 16) v128.store(to + i, v128.load(from + i));
  return to + bytes;
}

/** The bits of the vector at `from` that count when only `left` bytes are meant. */
export function meant(bits: i32, left: usize): i32 {
  return left < 16 ? bits & ((1 << i32(left)) - 1) : bits;
}

export function put(to: usize, byte: i32): usize {
  store<u8>(to, byte);
  return to + 1;
}

export function int16(at: usize): i32 {
  return <i32>(<i16>bswap<u16>(load<u16>(at)));
}

export function int32(at: usize): i32 {
  return <i32>bswap<u32>(load<u32>(at));
}

export function int64(at: usize): i64 {
  return <i64>bswap<u64>(load<u64>(at));
}

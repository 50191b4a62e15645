/** SipHash-2-4 of 128 bits (https://www.aumasson.jp/siphash/siphash.pdf): who does not know the key finds no two texts alike. */

let v0: u64 = 0;
let v1: u64 = 0;
let v2: u64 = 0;
let v3: u64 = 0;

/** Writes 16 bytes at `to`. @param key 16 bytes that nobody else knows */
export function digest(at: usize, end: usize, key: usize, to: usize): void {
  const bytes = end - at;
  const k0 = load<u64>(key);
  const k1 = load<u64>(key, 8);
  v0 = k0 ^ 0x736f6d6570736575;
  v1 = k1 ^ 0x646f72616e646f6d ^ 0xee;
  v2 = k0 ^ 0x6c7967656e657261;
  v3 = k1 ^ 0x7465646279746573;
  for (; at + 8 <= end; at += 8) take(load<u64>(at));
  let last: u64 = (<u64>bytes) << 56;
  for (let shift: u64 = 0; at < end; at += 1, shift += 8) last |= (<u64>load<u8>(at)) << shift;
  take(last);
  v2 ^= 0xee;
  store<u64>(to, finish());
  v1 ^= 0xdd;
  store<u64>(to, finish(), 8);
}

function take(word: u64): void {
  v3 ^= word;
  turn();
  turn();
  v0 ^= word;
}

function finish(): u64 {
  turn();
  turn();
  turn();
  turn();
  return v0 ^ v1 ^ v2 ^ v3;
}

function turn(): void {
  v0 += v1;
  v2 += v3;
  v1 = rotl<u64>(v1, 13) ^ v0;
  v3 = rotl<u64>(v3, 16) ^ v2;
  v0 = rotl<u64>(v0, 32);
  v2 += v1;
  v0 += v3;
  v1 = rotl<u64>(v1, 17) ^ v2;
  v3 = rotl<u64>(v3, 21) ^ v0;
  v2 = rotl<u64>(v2, 32);
}

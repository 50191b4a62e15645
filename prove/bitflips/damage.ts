/** Everything that can happen to the bytes of one file: each bit, each length, and bytes behind its end. */
import { seededRandom } from "../seeded.ts";

export interface Damage {
  readonly name: string;
  readonly apply: (bytes: Uint8Array) => Uint8Array;
}

const appendedMost = 64;

/** How many damages a file of so many bytes has. */
export const countDamages = (bytes: number): number => bytes * 8 + bytes + appendedMost;

/** The n-th damage of a file: first all flips, then all cuts, then all additions. */
function damageAt(bytes: number, n: number): Damage {
  if (n < bytes * 8) return { name: `bit ${n} flipped`, apply: (from) => flip(from, n) };
  const length = n - bytes * 8;
  if (length < bytes)
    return { name: `cut to ${length} bytes`, apply: (from) => from.slice(0, length) };
  const more = length - bytes + 1;
  return {
    name: `${more} bytes added`,
    apply: (from) => Buffer.concat([from, Buffer.alloc(more, more)]),
  };
}

function flip(from: Uint8Array, bit: number): Uint8Array {
  const bytes = Uint8Array.from(from);
  bytes[bit >>> 3]! ^= 1 << (bit & 7);
  return bytes;
}

/** All damages, or so many drawn at random; always with an empty file, a missing last byte and one byte more. */
export function* damagesOf(bytes: number, sample: Sample): Generator<Damage> {
  const all = countDamages(bytes);
  if (sample.count === undefined || sample.count >= all) {
    for (let n = 0; n < all; n += 1) yield damageAt(bytes, n);
    return;
  }
  for (const n of [bytes * 8, bytes * 9 - 1, bytes * 9]) yield damageAt(bytes, n);
  for (let n = 3; n < sample.count; n += 1)
    yield damageAt(bytes, Math.floor(sample.random() * all));
}

/** How much is tried of each file. */
export interface Sample {
  /** All where absent. */
  readonly count?: number;
  readonly random: () => number;
}

export const sampleOf = (seed: number, count?: number): Sample => ({
  random: seededRandom(seed),
  ...(count !== undefined && { count }),
});

/** Trials and what went wrong in them. */
export interface Tally {
  readonly trials: number;
  readonly failures: readonly string[];
}

export const sumOf = (tallies: readonly Tally[]): Tally => ({
  trials: tallies.reduce((sum, { trials }) => sum + trials, 0),
  failures: tallies.flatMap(({ failures }) => failures),
});

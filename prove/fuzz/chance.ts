/** Choices that a seed makes again, and what a fuzzer does with bytes by such choices. */
import { seededRandom } from "../seeded.ts";

export interface Chance {
  /** A whole number from 0 to below `most`. */
  below(most: number): number;
  pick<T>(from: readonly T[]): T;
  /** True once in `times`. */
  once(times: number): boolean;
  bytes(length: number): Buffer;
}

export function createChance(seed: number): Chance {
  const random = seededRandom(seed);
  const below = (most: number) => Math.floor(random() * most);
  return {
    below,
    pick: (from) => from[below(from.length)]!,
    once: (times) => below(times) === 0,
    bytes: (length) => Buffer.from(Array.from({ length }, () => below(256))),
  };
}

/** The seed of one case among many: the same whether it runs alone or with all others. */
export function seedOf(seed: number, name: string, nth: number): number {
  let mixed = seed ^ 0x9e3779b9;
  for (const char of name) mixed = Math.imul(mixed ^ char.charCodeAt(0), 0x01000193);
  mixed = Math.imul(mixed ^ nth, 0x85ebca6b);
  return (mixed ^ (mixed >>> 15)) >>> 0;
}

/** What lies where a length, a count or a size was. */
const edges = [
  0,
  1,
  2,
  3,
  4,
  5,
  7,
  8,
  127,
  128,
  255,
  256,
  511,
  512,
  513,
  32_767,
  32_768,
  65_535,
  65_536,
  2 ** 31 - 1,
  2 ** 31,
  2 ** 32 - 1,
];
const numbers = [
  "0",
  "-0",
  "-1",
  "1e400",
  "00",
  "1.5",
  "9007199254740991",
  "9007199254740993",
  "18446744073709551616",
  "99999999999999999999999999",
  "NaN",
  "4294967296",
  "2147483648",
  "-9223372036854775808",
  "0x10",
  "1e-400",
];

type Change = (bytes: Buffer, chance: Chance, others: Seeds) => Buffer;

/** What a class of cases is made of. */
export interface Seeds {
  readonly whole: readonly Buffer[];
  /** Words of the grammar. */
  readonly words: readonly (string | Buffer)[];
}

/** Words, parted by a dot in the middle of the line. */
export const wordsOf = (...rows: readonly string[]): string[] =>
  rows.flatMap((row) => row.split("·"));

/** At most so much grows by repetition in one case. */
const mostRepeatedBytes = 64 * 1024;

const at = (bytes: Buffer, chance: Chance) => chance.below(bytes.length + 1);
const range = (bytes: Buffer, chance: Chance): readonly [number, number] => {
  const start = at(bytes, chance);
  return [
    start,
    Math.min(bytes.length, start + chance.below(chance.pick([2, 8, 64, bytes.length + 1]))),
  ];
};
const insert = (bytes: Buffer, place: number, more: Uint8Array) =>
  Buffer.concat([bytes.subarray(0, place), more, bytes.subarray(place)]);
const wordOf = (chance: Chance, { words }: Seeds) =>
  Buffer.from(words.length > 0 ? chance.pick(words) : "\0");

const changes: readonly Change[] = [
  // One bit.
  (bytes, chance) => {
    const place = chance.below(bytes.length);
    bytes[place]! ^= 1 << chance.below(8);
    return bytes;
  },
  // One byte.
  (bytes, chance) => {
    bytes[chance.below(bytes.length)] = chance.once(2)
      ? chance.below(256)
      : chance.pick([0, 255, 10, 32]);
    return bytes;
  },
  // A number of two or four bytes, either way round.
  (bytes, chance) => {
    const place = chance.below(bytes.length);
    const value = chance.pick(edges);
    if (chance.once(2) && bytes.length - place >= 4) {
      if (chance.once(2)) bytes.writeUInt32BE(value % 2 ** 32, place);
      else bytes.writeUInt32LE(value % 2 ** 32, place);
    } else if (bytes.length - place >= 2) bytes.writeUInt16BE(value & 0xffff, place);
    return bytes;
  },
  // Digits.
  (bytes, chance) => {
    const text = bytes.toString("latin1");
    const found = [...text.slice(0, 4096).matchAll(/\d+/g)];
    if (found.length === 0) return bytes;
    const { 0: digits, index } = chance.pick(found);
    return Buffer.from(
      text.slice(0, index) + chance.pick(numbers) + text.slice(index + digits.length),
      "latin1",
    );
  },
  // Left out.
  (bytes, chance) => {
    const [start, end] = range(bytes, chance);
    return Buffer.concat([bytes.subarray(0, start), bytes.subarray(end)]);
  },
  // Twice.
  (bytes, chance) => {
    const [start, end] = range(bytes, chance);
    return insert(bytes, at(bytes, chance), bytes.subarray(start, end));
  },
  // Cut.
  (bytes, chance) => bytes.subarray(0, at(bytes, chance)),
  // Begun as one, ended as another.
  (bytes, chance, { whole }) => {
    const other = chance.pick(whole);
    return Buffer.concat([bytes.subarray(0, at(bytes, chance)), other.subarray(at(other, chance))]);
  },
  // A word of the grammar, put in or over what is there.
  (bytes, chance, seeds) => {
    const word = wordOf(chance, seeds);
    const place = at(bytes, chance);
    if (chance.once(2)) return insert(bytes, place, word);
    word.copy(bytes, place);
    return bytes;
  },
  // A word again and again: deep nesting, long runs.
  (bytes, chance, seeds) => {
    const word = wordOf(chance, seeds);
    const times = chance.pick([3, 30, 300, chance.once(20) ? 30_000 : 50]);
    const most = Math.max(
      1,
      Math.min(times, Math.floor(mostRepeatedBytes / Math.max(1, word.length))),
    );
    return insert(bytes, at(bytes, chance), Buffer.alloc(word.length * most, word));
  },
  // Anything.
  (bytes, chance) => insert(bytes, at(bytes, chance), chance.bytes(chance.below(16))),
];

/** A case of a class: mostly a seed changed in a few places, now and then nothing but noise. */
export function mutate(chance: Chance, seeds: Seeds): Buffer {
  if (chance.once(50)) return chance.bytes(chance.below(200));
  let bytes: Buffer = Buffer.from(chance.pick(seeds.whole));
  for (let left = chance.pick([1, 1, 1, 2, 2, 3, 5]); left > 0; left -= 1) {
    if (bytes.length === 0) return wordOf(chance, seeds);
    // What was changed is never a seed's own memory.
    bytes = Buffer.from(chance.pick(changes)(bytes, chance, seeds));
  }
  return bytes;
}

/** The same bytes in pieces, each in memory of its own. */
export function cut(bytes: Uint8Array, chance: Chance): Buffer[] {
  const most = chance.pick([1, 3, 16, 600, 70_000]);
  const least = bytes.length / 2000;
  const pieces: Buffer[] = [];
  for (let start = 0; start < bytes.length;) {
    const end = start + Math.ceil(least + 1 + chance.below(most));
    pieces.push(Buffer.from(bytes.subarray(start, end)));
    start = end;
  }
  return pieces;
}

/**
 * Which resources came already, in bounded memory: 96 bits of a digest for each, in two generations. When the younger is
 * full the older is forgotten, but for up to `carriedMost` that came again since it was the younger one: what comes on every
 * page stays. So at least the last `generationSize - carriedMost` different resources are remembered, and twice
 * `generationSize` before anything is forgotten.
 */
import { digestText } from "./digest-text.ts";

export const generationSize = 2 ** 15;
export const carriedMost = generationSize / 4;
/** At most half full; three words a slot. */
const mostSlots = 2 * generationSize;
const initialSlots = 2 ** 10;
const words = 3;

/** What two full generations take, a third while one grows, and a mark for each slot of the older one. */
export const seenBytes = 2.5 * mostSlots * words * 4 + mostSlots;

export interface Seen {
  /** True when the same text was added before and is not forgotten. */
  add(text: string): boolean;
  /** The same, but that a text which is not known is not added. */
  knows(text: string): boolean;
  /** Whether anything was forgotten. */
  readonly forgets: boolean;
}

export function createSeen(): Seen {
  let young = createTable();
  let old: Table | undefined;
  let forgets = false;
  const key = new Uint32Array(words);
  const rotate = () => {
    const carried = old?.met(carriedMost) ?? [];
    forgets ||= old !== undefined && carried.length < old.count;
    old = young;
    young = createTable();
    for (const key of carried) young.add(key);
  };
  const find = (text: string, adds: boolean): boolean => {
    digestText(text, key);
    // An empty slot is one that begins with 0.
    key[0] ||= 1;
    if (young.has(key) || old?.meet(key)) return true;
    if (!adds) return false;
    if (young.count === generationSize) rotate();
    young.add(key);
    return false;
  };
  return {
    get forgets() {
      return forgets;
    },
    add: (text) => find(text, true),
    knows: (text) => find(text, false),
  };
}

interface Table {
  readonly count: number;
  has(key: Uint32Array): boolean;
  add(key: Uint32Array): void;
  /** Whether it has the key, which then is marked; nothing is added any more. */
  meet(key: Uint32Array): boolean;
  /** Keys that are marked, up to so many. */
  met(most: number): readonly Uint32Array[];
}

/** Open addressing with steps of one; grows by doubling. */
function createTable(): Table {
  let slots = new Uint32Array(initialSlots * words);
  let marks: Uint8Array | undefined;
  let count = 0;
  const find = (key: Uint32Array): number => {
    const mask = slots.length / words - 1;
    for (let slot = key[1]! & mask; ; slot = (slot + 1) & mask) {
      const at = slot * words;
      if (slots[at] === 0) return at;
      if (slots[at] === key[0] && slots[at + 1] === key[1] && slots[at + 2] === key[2]) return at;
    }
  };
  const grow = () => {
    const before = slots;
    slots = new Uint32Array(before.length * 2);
    for (let at = 0; at < before.length; at += words) {
      if (before[at] === 0) continue;
      const key = before.subarray(at, at + words);
      slots.set(key, find(key));
    }
  };
  return {
    get count() {
      return count;
    },
    has: (key) => slots[find(key)] !== 0,
    add(key) {
      if (2 * (count + 1) > slots.length / words) grow();
      slots.set(key, find(key));
      count += 1;
    },
    meet(key) {
      const at = find(key);
      if (slots[at] === 0) return false;
      marks ??= new Uint8Array(slots.length / words);
      marks[at / words] = 1;
      return true;
    },
    met(most) {
      const keys: Uint32Array[] = [];
      for (let slot = 0; marks && slot < marks.length && keys.length < most; slot += 1)
        if (marks[slot] === 1) keys.push(slots.subarray(slot * words, (slot + 1) * words));
      return keys;
    },
  };
}

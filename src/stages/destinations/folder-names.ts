/**
 * The names of one folder, given back in name order. Of pages, whose names are a number and an ending that all share, a bit
 * each is kept: a million of them take 128 KiB.
 */
import { compareNames } from "./object-names.ts";

const pageLike = /^(\d{8})(\..+)$/;
/** Numbers of which one block of bits tells. */
const blockNumbers = 2 ** 16;
/** An export has one ending. */
const endingsAtMost = 4;

/** Blocks of bits, by their first number divided by `blockNumbers`. */
type Numbers = Map<number, Uint8Array>;

export class FolderNames {
  readonly #pages = new Map<string, Numbers>();
  readonly #others: string[] = [];

  /** Takes a name; one that was there is given back once, or twice where it is no page's. */
  add(name: string): void {
    const [, digits, ending] = pageLike.exec(name) ?? [];
    const numbers = ending === undefined ? undefined : this.#numbersOf(ending);
    if (numbers) set(numbers, Number(digits));
    else this.#others.push(name);
  }

  *inOrder(): Generator<string> {
    const lists: Iterator<string, undefined>[] = [
      this.#others.sort(compareNames).values(),
      ...[...this.#pages].map(([ending, numbers]) => namesOf(numbers, ending)),
    ];
    const heads = lists.map((list) => list.next().value);
    for (;;) {
      let first = -1;
      for (const [list, name] of heads.entries()) {
        if (name === undefined) continue;
        if (first < 0 || compareNames(name, heads[first]!) < 0) first = list;
      }
      if (first < 0) return;
      yield heads[first]!;
      heads[first] = lists[first]!.next().value;
    }
  }

  #numbersOf(ending: string): Numbers | undefined {
    const known = this.#pages.get(ending);
    if (known || this.#pages.size === endingsAtMost) return known;
    const numbers: Numbers = new Map();
    this.#pages.set(ending, numbers);
    return numbers;
  }
}

function set(numbers: Numbers, number: number): void {
  const [at, within] = [Math.floor(number / blockNumbers), number % blockNumbers];
  const block = numbers.get(at) ?? new Uint8Array(blockNumbers / 8);
  numbers.set(at, block);
  block[within >> 3]! |= 1 << (within & 7);
}

function* namesOf(numbers: Numbers, ending: string): Generator<string, undefined> {
  for (const at of [...numbers.keys()].sort((one, other) => one - other)) {
    const block = numbers.get(at)!;
    for (const [eighth, bits] of block.entries()) {
      for (let bit = 0; bits >> bit > 0; bit += 1) {
        if (!((bits >> bit) & 1)) continue;
        const number = at * blockNumbers + eighth * 8 + bit;
        yield `${String(number).padStart(8, "0")}${ending}`;
      }
    }
  }
}

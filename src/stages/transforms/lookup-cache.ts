/** Rows found earlier, by key: all of a small table, of a large one those used last, as many as fit. */
import type { Tuple } from "../nouns.ts";

/** What a cache has done so far; read by metrics whenever they like. */
export interface CacheCounters {
  /** The stage that keeps it. */
  readonly name: string;
  /** Rows answered without asking. */
  readonly hits: number;
  /** Keys asked for, or rows read whole at the start. */
  readonly loads: number;
  readonly loadFailures: number;
  readonly loadMillis: number;
  readonly evictions: number;
  /** About how much memory the entries take. */
  readonly bytes: number;
}

/** The cells to add for a key, as the server prints them; null where there is no row of that key. */
export type Answer = Tuple | null;

/** An entry of a map, its key and its object, beside their texts. */
const entryBytes = 160;

export class LookupCache implements CacheCounters {
  readonly name: string;
  readonly #mostBytes: number;
  readonly #entries = new Map<string, Answer>();
  hits = 0;
  loads = 0;
  loadFailures = 0;
  loadMillis = 0;
  evictions = 0;
  bytes = 0;

  constructor(name: string, mostBytes: number) {
    this.name = name;
    this.#mostBytes = mostBytes;
  }

  /** Undefined where the key has not been asked for, or was forgotten since. */
  get(key: string): Answer | undefined {
    const answer = this.#entries.get(key);
    if (answer === undefined) return undefined;
    // A map gives its keys in the order they were set: the first one was used longest ago.
    this.#entries.delete(key);
    this.#entries.set(key, answer);
    return answer;
  }

  /** The same where nothing is ever forgotten, so that no use has to be remembered. */
  peek(key: string): Answer | undefined {
    return this.#entries.get(key);
  }

  has(key: string): boolean {
    return this.#entries.has(key);
  }

  /** Keeps what still fits beside all others, or gives false. */
  add(key: string, answer: Answer): boolean {
    const bytes = this.bytes + weigh(key, answer);
    if (bytes > this.#mostBytes) return false;
    this.#entries.set(key, answer);
    this.bytes = bytes;
    return true;
  }

  /** Keeps it; what was used longest ago makes room. */
  set(key: string, answer: Answer): void {
    while (!this.add(key, answer)) {
      const [oldest] = this.#entries;
      if (!oldest) return;
      this.#entries.delete(oldest[0]);
      this.bytes -= weigh(...oldest);
      this.evictions += 1;
    }
  }

  clear(): void {
    this.#entries.clear();
    this.bytes = 0;
  }
}

/** About how much memory an entry takes; texts may take two bytes a letter. */
export function weigh(key: string, answer: Answer): number {
  let letters = key.length;
  for (const cell of answer ?? []) letters += 12 + (typeof cell === "string" ? cell.length : 0);
  return entryBytes + 2 * letters;
}

/** How many bytes a stage has in hand, and how many items are in flight inside it. */
import type { Kind } from "../stages/nouns.ts";
import { isPage, isPaged } from "./counts.ts";

export interface Held {
  /** Items taken in and not given on; always 0 where items cannot be followed. */
  readonly inFlight: number;
  readonly peakBytes: number;
  asked(): void;
  took(item: unknown, bytes: number): void;
  pulled(): void;
  gave(item: unknown, bytes: number): void;
}

/** The right way to look at a stage depends on what it takes and gives. */
export function createHeld(takes: Kind, gives: Kind): Held {
  // A durable page lies on the disk: the stage that made it so has only the next one in hand.
  if (gives === "durable") return heldInHand(() => 0);
  return isPaged(takes) && isPaged(gives) ? heldPages() : heldInHand((size) => size);
}

/** Page in, page out, in order: a page that comes out ends all before it too, so dropped pages do not pile up. */
function heldPages(): Held {
  const pages = new Map<number, number>();
  let bytes = 0;
  let peakBytes = 0;
  return {
    get inFlight() {
      return pages.size;
    },
    get peakBytes() {
      return peakBytes;
    },
    asked() {},
    pulled() {},
    took(item, size) {
      if (!isPage(item)) return;
      pages.set(item.page, size);
      bytes += size;
      peakBytes = Math.max(peakBytes, bytes);
    },
    gave(item) {
      if (!isPage(item)) return;
      for (const [page, size] of pages) {
        if (page > item.page) break;
        pages.delete(page);
        bytes -= size;
      }
    },
  };
}

/** Anything else: the item being worked on, and the one made from it until the next is asked for. */
function heldInHand(weightGiven: (size: number) => number): Held {
  let input = 0;
  let output = 0;
  let peakBytes = 0;
  const note = () => (peakBytes = Math.max(peakBytes, input + output));
  return {
    inFlight: 0,
    get peakBytes() {
      return peakBytes;
    },
    asked() {
      input = 0;
    },
    pulled() {
      output = 0;
    },
    took(_item, size) {
      input = size;
      note();
    },
    gave(_item, size) {
      output = weightGiven(size);
      note();
    },
  };
}

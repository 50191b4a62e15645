/**
 * Watches one stage from outside: a transparent iterable before it, one after it, and what passed between.
 *
 * Pure pull: nothing is read ahead, kept or changed; `return` and `throw` go through, errors go through as they are.
 */
import type { Kind } from "../stages/nouns.ts";
import { countItem } from "./counts.ts";
import { createHeld, type Held } from "./held.ts";
import { createStageClock, type StageClock } from "./stage-clock.ts";

/** What the plan says of a stage. */
export interface StageInfo {
  readonly name: string;
  readonly takes: Kind;
  readonly gives: Kind;
}

/** What a run says of a stage, while it goes on and in its summary. */
export interface StageSummary {
  readonly name: string;
  /** Rows or records given on. */
  readonly rows: number;
  /** Bytes given on. */
  readonly bytes: number;
  /** Seconds of work, of waiting for the stage before, of waiting for the stage after. */
  readonly busySeconds: number;
  readonly starvedSeconds: number;
  readonly blockedSeconds: number;
  readonly peakHeldBytes: number;
}

/** What the run wants to know while a stage works. Called before an item is taken, and before it is given on. */
export interface StageListener {
  opened(stage: StageWatch): void;
  took(stage: StageWatch, item: unknown): void;
  gave(stage: StageWatch, item: unknown): void;
  closed(stage: StageWatch, error?: { readonly reason: unknown }): void;
}

export interface StageWatch {
  readonly info: StageInfo;
  readonly clock: StageClock;
  /** Items given on. */
  readonly items: number;
  stats(): StageSummary;
  wrap(input: AsyncIterable<unknown>, open: OpenStage): AsyncIterable<unknown>;
}

export type OpenStage = (input: AsyncIterable<unknown>) => AsyncIterable<unknown>;

interface Tally {
  items: number;
  rows: number;
  bytes: number;
}

/** Makes the watch of one stage; `listener` hears when it opens, takes, gives and closes. */
export function watchStage(info: StageInfo, listener: StageListener): StageWatch {
  const held = createHeld(info.takes, info.gives);
  const clock = createStageClock(() => held.inFlight);
  const tally: Tally = { items: 0, rows: 0, bytes: 0 };
  const watch: StageWatch = {
    info,
    clock,
    get items() {
      return tally.items;
    },
    stats: () => ({
      name: info.name,
      rows: tally.rows,
      bytes: tally.bytes,
      ...clock.times(),
      peakHeldBytes: held.peakBytes,
    }),
    wrap(input, open) {
      const took = (item: unknown) => {
        held.took(item, countItem(info.takes, item).bytes);
        listener.took(watch, item);
      };
      const gave = (item: unknown) => {
        const count = countItem(info.gives, item);
        tally.items += 1;
        tally.rows += count.rows;
        tally.bytes += count.bytes;
        held.gave(item, count.bytes);
        listener.gave(watch, item);
      };
      const watchedInput = watchInput(input, held, clock, took);
      return watchOutput(() => open(watchedInput), held, watch, gave, listener);
    },
  };
  return watch;
}

function watchInput(
  input: AsyncIterable<unknown>,
  held: Held,
  clock: StageClock,
  took: (item: unknown) => void,
): AsyncIterable<unknown> {
  const nextOf = (inner: AsyncIterator<unknown>) => async () => {
    held.asked();
    clock.asked();
    try {
      const result = await inner.next();
      if (!result.done) took(result.value);
      return result;
    } finally {
      clock.took();
    }
  };
  return {
    [Symbol.asyncIterator]() {
      const inner = input[Symbol.asyncIterator]();
      return { next: nextOf(inner), ...passEnds(inner, () => undefined) };
    },
  };
}

function watchOutput(
  open: () => AsyncIterable<unknown>,
  held: Held,
  watch: StageWatch,
  gave: (item: unknown) => void,
  listener: StageListener,
): AsyncIterable<unknown> {
  const { clock } = watch;
  let state: "new" | "open" | "closed" = "new";
  const start = () => {
    if (state === "new") listener.opened(watch);
    if (state === "new") state = "open";
  };
  const close = (error?: { readonly reason: unknown }) => {
    clock.closed();
    if (state === "open") listener.closed(watch, error);
    state = "closed";
  };
  const nextOf = (inner: AsyncIterator<unknown>) => async () => {
    held.pulled();
    clock.pulled();
    start();
    try {
      const result = await inner.next();
      if (result.done) close();
      else gave(result.value);
      return result;
    } catch (error) {
      close({ reason: error });
      throw error;
    } finally {
      clock.gave();
    }
  };
  return {
    [Symbol.asyncIterator]() {
      const inner = open()[Symbol.asyncIterator]();
      return { next: nextOf(inner), ...passEnds(inner, close) };
    },
  };
}

/** `return` and `throw` of the inner iterator, where it has them, and word of them when they have settled. */
function passEnds(
  inner: AsyncIterator<unknown>,
  ended: (error?: { readonly reason: unknown }) => void,
): Partial<Pick<AsyncIterator<unknown>, "return" | "throw">> {
  const pass = async (result: Promise<IteratorResult<unknown>>) => {
    try {
      const settled = await result;
      if (settled.done) ended();
      return settled;
    } catch (error) {
      ended({ reason: error });
      throw error;
    }
  };
  return {
    ...(inner.return && { return: (value) => pass(inner.return!(value)) }),
    ...(inner.throw && { throw: (error) => pass(inner.throw!(error)) }),
  };
}

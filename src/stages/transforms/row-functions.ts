/**
 * Functions over rows, fused into one with stream-chain: the only file that knows it on the row side.
 *
 * A row function gives a row, `null` or `undefined` to drop it, `many([...])` or a generator for several; it may be
 * async. Several fused cost one crossing, not one each (stream-chain, bench/pipeline-vs-chain).
 */
import {
  clearFunctionList,
  flushable,
  gen,
  getFunctionList,
  isFunctionList,
  many,
  none,
} from "stream-chain";
import { exec, type Push } from "stream-chain/exec.js";
import type { Column, Row } from "../nouns.ts";
import { inMemberOrder } from "./documents.ts";

export interface RowFunction {
  // What stream-chain accepts is wider than a type can say; rows in, rows or markers out.
  (row: Row): unknown;
  /** Which of the columns before are left, for a function that knows; without it they stay as hints. */
  readonly columnsLeft?: (before: readonly Column[]) => readonly Column[];
}

/** What one stage does to a row: a function, or those of a chain. */
export type StageFunctions = readonly RowFunction[];

/** The functions of row work; none where it is a stream. */
export function functionsOf(work: object): StageFunctions | undefined {
  const chained = work as Parameters<typeof getFunctionList>[0];
  if (isFunctionList(chained)) return getFunctionList(chained) as RowFunction[];
  return typeof work === "function" ? [work as RowFunction] : undefined;
}

/** Whether it gives what it returns, and that alone. */
export const isOneFunction = (work: object): work is RowFunction =>
  typeof work === "function" && !isFunctionList(work as never) && !isGenerator(work as RowFunction);

/** What fused functions are told at the end, where some may have held rows back. */
export const atEnd: unknown = none;

type Fused<Made> = (row: unknown) => Made;
export type Outputs = readonly unknown[] | Promise<readonly unknown[]> | AsyncIterable<unknown>;

/**
 * One function of several. A generator's rows pass as they come; all else is a few rows, gathered at once. Stages stay apart
 * in one thing: a value that is `final` passes over the rest of its own, and never over one behind it that may hide something.
 */
export function fuseFunctions(stages: readonly StageFunctions[]): Fused<Outputs> {
  const links = stages.map((functions) =>
    functions.flatMap((fn) => [fn, isGenerator(fn) ? takeAsItIs : dropEmpty]),
  );
  return stages.flat().some(isGenerator) ? passOn(links) : gather(links);
}

/** A `gen` hands each row over by promises, which takes longer than most functions: stages without generators need none. */
function passOn(links: readonly StageFunctions[]): Fused<AsyncIterable<unknown>> {
  const apart = links
    .slice(0, -1)
    .map((functions) =>
      functions.some(isGenerator)
        ? clearFunctionList(gen(...functions) as never)
        : asMany(gather([functions])),
    );
  return gen(...(apart as RowFunction[]), ...links.at(-1)!) as Fused<AsyncIterable<unknown>>;
}

const asMany = (apply: ReturnType<typeof gather>): RowFunction =>
  flushable((row) => {
    const rows = apply(row);
    return isThenable(rows) ? rows.then((all) => many([...all])) : many([...rows]);
  });

function gather(
  links: readonly StageFunctions[],
): Fused<readonly unknown[] | Promise<readonly unknown[]>> {
  const stages = links.map((functions) => exec(...functions));
  let made: unknown[] = [];
  /** Who takes what the stage before gives; the last one keeps it. */
  const takers: Push[] = [(row) => void made.push(row)];
  for (const stage of stages.toReversed()) {
    const [next] = takers;
    takers.unshift((row) => stage(row, next!));
  }
  /** What one held back passes through those behind it before they are told. */
  const flush = async () => {
    for (const [at, stage] of stages.entries()) await stage(none, takers[at + 1]!);
  };
  return (row) => {
    const rows: unknown[] = (made = []);
    const working = row === none ? flush() : takers[0]!(row);
    return working ? working.then(() => rows) : rows;
  };
}

/** The columns that all functions together leave; the same list for the same list, as writers remember it. */
export function fuseColumns(
  functions: StageFunctions,
): (before: readonly Column[]) => readonly Column[] {
  let seen: readonly Column[] | undefined;
  let after: readonly Column[] = [];
  return (before) => {
    if (before === seen) return after;
    seen = before;
    const left = functions.reduce((columns, fn) => fn.columnsLeft?.(columns) ?? columns, before);
    after = inMemberOrder(left);
    return after;
  };
}

/** Whether what a function gave in a row's place drops it. */
export const isDropped = (made: unknown): boolean => (made ?? none) === none;

const dropEmpty: RowFunction = (row) => row ?? none;

/** A generator may go on to change the row that it gave. Anything but a plain object would be another as a copy. */
const takeAsItIs: RowFunction = (row) => (isPlain(row) ? { ...row } : dropEmpty(row));

function isPlain(row: unknown): row is Row {
  if (typeof row !== "object" || row === null) return false;
  const prototype: unknown = Object.getPrototypeOf(row);
  return prototype === Object.prototype || prototype === null;
}

const isGenerator = (fn: RowFunction) => fn.constructor.name.endsWith("GeneratorFunction");

export const isThenable = <T>(value: T | Promise<T>): value is Promise<T> =>
  typeof (value as { then?: unknown } | null)?.then === "function";

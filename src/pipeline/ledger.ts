/** The memory ledger: what every part of a run holds at most, added up before a row is read. */
import { availableParallelism } from "node:os";
import { formatBytes } from "../stages/atoms.ts";
import { PipelineError } from "../errors.ts";
import { pageWeight } from "../stages/pages/chunk.ts";
import type { LedgerLine, PhysicalStage } from "./plan-types.ts";

const MiB = 1024 * 1024;

/**
 * What the process weighs beside data, measured by `bench/weight`: 54 MiB when all is loaded, garbage that waits. (The
 * compiler for WebAssembly is held by the stage that needs it.)
 */
const base = {
  node: 60 * MiB,
  thread: 9 * MiB,
  telemetry: { off: 0, light: 5 * MiB, node: 16 * MiB },
};

/**
 * What pages leave in heaps and allocator until it is collected does not depend on their size (measured by `prove/budget`, with
 * 5,000 pages of 4 KiB). Those of a mebibyte have room for it: they are sealed smaller than they may become.
 */
const garbageBytes = (pageBytes: number): number => 7 * Math.max(0, MiB - pageBytes);

export type TelemetryWeight = keyof typeof base.telemetry;

export interface Ledger {
  readonly lines: readonly LedgerLine[];
  readonly threads: number;
  readonly leaseBytes: number;
}

/** One core is left to the main thread and the server; past four threads a single connection cannot feed more. */
export const sealThreads = (): number => Math.min(4, Math.max(1, availableParallelism() - 1));

/** Pages that can be of use at once: one that fills, one a thread and one ahead of it, one that enters the spool. */
export const usefulPages = (threads: number): number => threads + 3;
const leastPages = 2;

/**
 * Adds up the run's memory and gives what is left to the lease. Where a budget is too small for a thread on every core,
 * there are fewer.
 * @throws PipelineError `budget-too-small`, naming the stage that holds most and the knobs that help
 */
export function drawLedger(
  memoryBytes: number,
  pageBytes: number,
  stages: readonly PhysicalStage[],
  telemetry: TelemetryWeight,
): Ledger {
  const weight = pageWeight(pageBytes);
  const addUp = (threads: number) => {
    const lines = fixedLines(threads, pageBytes, stages, telemetry);
    const fixed = lines.reduce((sum, { bytes }) => sum + bytes, 0);
    return { threads, lines, fixed, needed: fixed + leastPages * weight };
  };
  let sum = addUp(sealThreads());
  while (sum.needed > memoryBytes && sum.threads > 1) sum = addUp(sum.threads - 1);
  const { threads, lines, fixed, needed } = sum;
  if (needed > memoryBytes) throw tooSmall(memoryBytes, needed, pageBytes, lines);
  const room = memoryBytes - fixed;
  const pages = Math.min(usefulPages(threads), Math.floor(room / weight));
  const leaseBytes = pages * weight;
  lines.push({
    name: "lease",
    bytes: leaseBytes,
    why: `${pages} pages of ${formatBytes(pageBytes)}, each with its sealed form`,
  });
  return { lines, threads, leaseBytes };
}

/** All but the lease. */
function fixedLines(
  threads: number,
  pageBytes: number,
  stages: readonly PhysicalStage[],
  telemetry: TelemetryWeight,
): LedgerLine[] {
  const lines: LedgerLine[] = [
    { name: "runtime", bytes: base.node, why: "Node.js, drivers, schemas, heap" },
    {
      name: "workers",
      bytes: threads * base.thread,
      why: `${threads} seal thread${threads > 1 ? "s" : ""}`,
    },
  ];
  if (telemetry !== "off") {
    lines.push({
      name: "telemetry",
      bytes: base.telemetry[telemetry],
      why: `OpenTelemetry, sdk: ${telemetry}`,
    });
  }
  const garbage = garbageBytes(pageBytes);
  if (garbage > 0)
    lines.push({ name: "garbage", bytes: garbage, why: "of many pages under 1 MiB each" });
  for (const stage of stages) {
    const bytes = stage.holds(pageBytes, threads);
    if (bytes > 0) lines.push({ name: stage.name, bytes, why: "held by the stage" });
  }
  return lines;
}

/** Rounded up, so that who asks for what is told gets it. */
const wholeMebibytes = (bytes: number) => `${Math.ceil(bytes / MiB)} MiB`;

function tooSmall(
  memoryBytes: number,
  neededBytes: number,
  pageBytes: number,
  lines: readonly LedgerLine[],
): PipelineError {
  const fattest = lines.toSorted((a, b) => b.bytes - a.bytes)[0]!;
  return new PipelineError(
    "budget-too-small",
    `memory: ${formatBytes(memoryBytes)} is too little: this pipeline needs ${wholeMebibytes(neededBytes)} at least ` +
      `(most of it: ${fattest.name}, ${formatBytes(fattest.bytes)}); raise \`memory\`` +
      // Smaller pages save nothing: there are more of them.
      (pageBytes > MiB ? `, or lower \`chunk.size\` (now ${formatBytes(pageBytes)})` : ""),
  );
}

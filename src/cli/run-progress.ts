/** The progress of a run in words: percent, rows, rate, time left, memory against its budget, pages uploaded. */
import type { Progress } from "../pipeline/summary.ts";
import { formatBytes, formatDuration } from "../stages/atoms.ts";
import type { ProgressParts } from "./progress.ts";
import { drawBar, formatCount, formatCounted } from "./screen.ts";
import type { Paint } from "./verb.ts";

const windowMillis = 5000;
const barWidth = 12;
/** Below this the picture gives its room to the numbers. */
const wideTerminal = 100;

interface Moment {
  readonly rows: number;
  readonly elapsedMillis: number;
}

/** Turns each progress report into the parts of a line; remembers the last seconds, to tell the present rate. */
export function describeProgress(): (progress: Progress) => ProgressParts {
  const window: Moment[] = [];
  return (progress) => {
    window.push(progress);
    while (window.length > 2 && progress.elapsedMillis - window[1]!.elapsedMillis > windowMillis)
      window.shift();
    const rowsPerSecond = rateOf(window[0]!, progress);
    return (paint) => partsOf(progress, rowsPerSecond, paint);
  };
}

function rateOf(from: Moment, to: Moment): number {
  const base = from === to ? { rows: 0, elapsedMillis: 0 } : from;
  const seconds = (to.elapsedMillis - base.elapsedMillis) / 1000;
  return seconds > 0 ? (to.rows - base.rows) / seconds : 0;
}

function partsOf(progress: Progress, rowsPerSecond: number, paint: Paint): string[] {
  const { phase, rows, expectedRows, expectedExact, pages, pagesUploaded } = progress;
  const known = expectedRows !== undefined && expectedRows > 0;
  // An estimate may be passed; 100 % is said by the summary alone.
  const share = known ? Math.min(0.99, rows / expectedRows) : undefined;
  const about = expectedExact ? "" : "~";
  const counted = known
    ? `${formatCount(rows)}/${about}${formatCounted(expectedRows, "row")}`
    : formatCounted(rows, "row");
  const left = known && rowsPerSecond > 0 ? (expectedRows - rows) / rowsPerSecond : undefined;
  const percent =
    share !== undefined && phase === "exporting"
      ? `${about}${Math.floor(share * 100)} %`.padStart(5)
      : undefined;
  const isWide = paint.width >= wideTerminal;
  const parts = isWide || percent === undefined ? [paint.bold(phase)] : [];
  if (percent !== undefined) parts.push(isWide ? percent + bar(share ?? 0, paint) : percent);
  parts.push(counted, `${formatCount(rowsPerSecond)} rows/s`);
  if (left !== undefined && left > 0 && phase === "exporting")
    parts.push(`ETA ${formatLeft(left)}`);
  // A run that goes on begins with what was uploaded before.
  const pagesKnown = Math.max(pages, pagesUploaded);
  parts.push(memoryPart(progress, paint), `${pagesUploaded}/${pagesKnown} pages uploaded`);
  if (progress.spoolBytes > 0) parts.push(paint.dim(`spool ${formatBytes(progress.spoolBytes)}`));
  return parts;
}

const formatLeft = (seconds: number): string =>
  seconds < 60 ? `${Math.ceil(seconds)} s` : formatDuration(seconds * 1000);

/** For people who watch; a log needs no picture. */
function bar(share: number, paint: Paint): string {
  return process.stderr.isTTY ? ` ${paint.cyan(drawBar(share, barWidth))}▏` : "";
}

function memoryPart({ rssBytes, memoryBudgetBytes }: Progress, paint: Paint): string {
  const text = `mem ${formatBytes(rssBytes)} of ${formatBytes(memoryBudgetBytes)}`;
  return rssBytes > memoryBudgetBytes ? paint.yellow(text) : text;
}

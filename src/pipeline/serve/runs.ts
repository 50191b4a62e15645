/** What serving knows of runs: how one is started, how it ended, what became of its slot. */
import type { Served } from "./served.ts";

/** How a run ended, as its process told. */
export interface RunEnded {
  readonly exitCode: number;
  /** The error's code, where it failed. */
  readonly code: string | null;
  /** Whether the same run may succeed later, as the error says. */
  readonly mayHelp: boolean;
  readonly runId: string | null;
  /** The slot that was run for: an earlier one than asked for where its run had not ended. */
  readonly slot: string | null;
}

export interface RunningRun {
  readonly ended: Promise<RunEnded>;
  /** Asks it to stop cleanly, and ends it when it does not. */
  stop(): void;
}

export type StartRun = (asked: {
  readonly served: Served;
  readonly slot: Date;
  /** Discards an unfinished run. */
  readonly restart: boolean;
}) => RunningRun;

const outcomes = ["committed", "skipped", "stopped", "failed"] as const;
export type Outcome = (typeof outcomes)[number];

export const alreadyRunning = 7;

/** What became of a slot. A run that stopped itself, for want of room or of a disk, has failed: nobody asked it to. */
export function outcomeOf({ exitCode, code }: Pick<RunEnded, "exitCode" | "code">): Outcome {
  if (exitCode === 0 || exitCode === 3) return "committed";
  if (exitCode === alreadyRunning) return "skipped";
  const isAsked = code === null || code === "stopped";
  return exitCode === 130 || (exitCode === 75 && isAsked) ? "stopped" : "failed";
}

export interface LastRun {
  readonly slot: string;
  readonly outcome: Outcome;
  readonly exitCode: number;
  readonly runId: string | null;
  readonly ended: string;
}

export interface TimetableStatus {
  readonly next: string | null;
  readonly running: { readonly slot: string; readonly since: string } | null;
  readonly waiting: string | null;
  readonly last: LastRun | null;
  readonly slots: Readonly<Record<Outcome, number>>;
}

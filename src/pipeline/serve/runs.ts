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

export const outcomes = ["committed", "skipped", "stopped", "failed"] as const;
export type Outcome = (typeof outcomes)[number];

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

/** What `plan` promises before a row is read. */
import type { Kind } from "../stages/nouns.ts";
import type { PressureSettings } from "../stages/pressure.ts";

export interface LedgerLine {
  /** `base`, or the name of the stage that holds it. */
  readonly name: string;
  readonly bytes: number;
  readonly why: string;
}

export interface PlannedStage {
  readonly name: string;
  /** The stages as the user wrote them that run here as one. */
  readonly from: readonly string[];
  readonly takes: Kind;
  readonly gives: Kind;
  readonly holdsBytes: number;
}

/** Row stages whose work the query does instead of JavaScript. */
export interface PushedWork {
  /** Their names, in order. */
  readonly stages: readonly string[];
  /** The query as written, and what JavaScript would do to its rows. */
  readonly before: string;
  /** What the server is asked, by the names of columns; conditions are bound as further parameters. */
  readonly after: string;
}

export interface PlanReport {
  readonly name: string;
  readonly memoryBytes: number;
  /** How a run is to keep to its memory. */
  readonly pressure: PressureSettings;
  readonly leaseBytes: number;
  readonly pageBytes: number;
  readonly threads: number;
  readonly stages: readonly PlannedStage[];
  /** What of the row stages runs in the source's query; null when nothing does. */
  readonly pushed: PushedWork | null;
  readonly ledger: readonly LedgerLine[];
  /** What the planner did and why, in sentences. */
  readonly notes: readonly string[];
  /** SHA-256 (hex) of the stages as written, references unresolved: no secrets. */
  readonly configDigest: string;
}

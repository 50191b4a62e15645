/** The nouns of planning: a stage as configured and as it will run, the plan, and what it promises before a row is read. */
import type { Kind } from "../stages/nouns.ts";
import type { UploadConfig } from "../stages/pages/upload.ts";
import type { PressureSettings } from "../stages/pressure.ts";
import type { AnyStage, StageContext } from "../stages/stage.ts";
import type { Opener, PlannedLayers } from "./plan-layers.ts";
import type { ScheduleConfig, TelemetryConfig } from "./spec.ts";

/** A stage with its complete config, as validation gives it. */
export interface ConfiguredStage {
  readonly name: string;
  readonly definition: AnyStage;
  readonly config: unknown;
  /** The stages as written that it does the work of, itself first; only when there are others. */
  readonly from?: readonly string[];
  /** The stages it is instead where the server does not prove that it may do their work. */
  readonly otherwise?: readonly ConfiguredStage[];
}

/** A stage that will run. */
export interface PhysicalStage {
  readonly name: string;
  readonly from: readonly string[];
  readonly takes: Kind;
  readonly gives: Kind;
  holds(pageBytes: number, threads: number): number;
  open(ctx: StageContext, input: AsyncIterable<unknown>): AsyncIterable<unknown>;
  /** As the stage's own. */
  readonly settle?: (ctx: StageContext) => Promise<void>;
}

/** The resolved meaning of the stages as one text. It may hold a passphrase: it is only ever fed to an HMAC under the run's own key. */
export interface Meaning {
  readonly meaning: string;
  /** The same with the destination as it is written, which bound runs before a path had one spelling. */
  readonly formerMeaning: string;
}

/** What another attempt must mean too may hold a passphrase, so it is never written anywhere; empty unless resolved. */
export interface Plan extends Meaning {
  readonly report: PlanReport;
  readonly stages: readonly PhysicalStage[];
  /** The same before they were fused, with their complete config. */
  readonly configured: readonly ConfiguredStage[];
  readonly spool: SpoolConfig;
  readonly upload: UploadConfig;
  readonly layers: PlannedLayers;
  readonly opensWith: Opener;
  readonly sign: string | undefined;
  readonly telemetry: TelemetryConfig | undefined;
  readonly schedule: ScheduleConfig | undefined;
  /** True when every row of the source becomes a record, so that the two counts must agree. */
  readonly keepsRows: boolean;
}

interface SpoolConfig {
  readonly dir: string;
  readonly maxBytes: number;
  readonly fullTimeout: number;
}
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

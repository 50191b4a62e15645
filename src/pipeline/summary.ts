/** What a run says of itself: while it goes on, and at its end (`run --json` prints exactly this). */
import type { QueryStats } from "../stages/queries/query-watch.ts";
import type { StageSummary } from "../telemetry/stage-watch.ts";
import type { Layers } from "./manifest.ts";
import type { Opener } from "./plan-layers.ts";

export type { StageSummary };

export type RunState = "committed" | "stopped" | "failed";

export interface RunSummary {
  readonly runId: string;
  readonly pipeline: string;
  /** The time of the schedule that the run was for, or null. */
  readonly slot: string | null;
  readonly state: RunState;
  readonly rows: number;
  readonly pages: number;
  /** Serialized bytes. */
  readonly bytesIn: number;
  /** Sealed bytes. */
  readonly bytesOut: number;
  readonly seconds: number;
  readonly peakRssBytes: number;
  readonly memoryBudgetBytes: number;
  /** URL by which the run is read back: of its folder, or of the bundle that it lies in. */
  readonly destination: string;
  /** URL of the manifest. */
  readonly manifest: string;
  /** Ed25519 public key that verifies the manifest, `ed25519:<base64>`. */
  readonly signer: string;
  readonly consistency: string;
  /** How every page is made; `extension` is the file name extension of the records. */
  readonly layers: Layers;
  readonly opensWith: Opener;
  /** Rows a policy turned away, by reason. */
  readonly rejected: Readonly<Record<string, number>>;
  /** The run's own id when it was taken up after a stop, else null. */
  readonly resumedFrom: string | null;
  readonly stages: readonly StageSummary[];
  readonly bottleneck: string | null;
  /** Statements that stages of one's own asked through `ctx.query`, where they asked any. */
  readonly queries?: readonly QueryStats[];
  /** The trace, when the run is traced. */
  readonly traceId: string | null;
}

export interface Progress {
  readonly phase: "starting" | "exporting" | "committing";
  readonly rows: number;
  readonly expectedRows: number | undefined;
  readonly expectedExact: boolean;
  readonly pages: number;
  readonly pagesUploaded: number;
  readonly bytesIn: number;
  readonly bytesOut: number;
  readonly rssBytes: number;
  readonly memoryBudgetBytes: number;
  readonly spoolBytes: number;
  readonly elapsedMillis: number;
  readonly stages: readonly StageSummary[];
}

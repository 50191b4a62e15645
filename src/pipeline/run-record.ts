/** What a pipeline's folder remembers of its runs. It is checked when it is read: a disk may give back anything. */
import * as v from "valibot";
import { runIdText, wholeNumber } from "../stages/pages/format-limits.ts";
import type { Layers } from "./manifest.ts";

/** The run under way; holds no secret but the key of its own checkpoints. */
export interface RunRecord {
  readonly version: 2;
  readonly runId: string;
  readonly pipeline: string;
  readonly configDigest: string;
  /** HMAC (hex, under `key`) of what the run means: resolved stages, modules, destination. */
  readonly meaning: string;
  /** Hex; opens nothing but this run's checkpoints. */
  readonly key: string;
  readonly started: string;
  readonly attempts: number;
  /** Trace of the latest attempt, for the next one to link to. */
  readonly traceparent?: string;
  /** The time of the schedule the run is for (ISO, UTC), where it is for one. */
  readonly slot?: string;
  /** Digest of the destination, as in `last-….json`. */
  readonly destination?: string;
  /** Whether what its source leaves is the next run's. */
  readonly carries?: boolean;
}

const ours = v.looseObject({
  version: v.literal(2),
  runId: runIdText,
  pipeline: v.string(),
  configDigest: v.string(),
  meaning: v.string(),
  key: v.pipe(v.string(), v.regex(/^[0-9a-f]{64}$/)),
  started: v.string(),
  attempts: wholeNumber,
  traceparent: v.optional(v.string()),
  slot: v.optional(v.string()),
  destination: v.optional(v.string()),
  carries: v.optional(v.boolean()),
});
/** Of another version nothing is known but which run it is. */
const others = v.looseObject({ version: v.pipe(v.number(), v.notValue(2)), runId: runIdText });

export const runRecordSchema = v.union([ours, others]);

/** The last committed run of this pipeline. */
export interface LastCommit {
  readonly runId: string;
  readonly generation: number;
  /** SHA-256 (hex) of its manifest. */
  readonly manifestDigest: string;
  readonly signer: string;
  readonly rows: number;
  readonly pages: number;
  readonly bytesIn: number;
  readonly bytesOut: number;
  readonly consistency: string;
  /** Format of the records, as in page names. */
  readonly extension: string;
  /** As its manifest says, whatever the stages are by now; absent in what earlier versions left. */
  readonly layers?: Layers;
}

export const lastCommitSchema = v.looseObject({
  runId: runIdText,
  generation: v.pipe(wholeNumber, v.minValue(1)),
  manifestDigest: v.string(),
  signer: v.string(),
  rows: wholeNumber,
  pages: wholeNumber,
  bytesIn: wholeNumber,
  bytesOut: wholeNumber,
  consistency: v.string(),
  extension: v.string(),
  layers: v.optional(
    v.looseObject({ extension: v.string(), compress: v.string(), encrypt: v.string() }),
  ),
});

/** What a committed run's source leaves for the next run. */
export const carriedSchema = v.looseObject({ runId: runIdText, text: v.string() });

/** The last slot of the schedule that an export was committed for. */
export interface DoneSlot {
  readonly slot: string;
  readonly commit: LastCommit;
}

export const doneSlotSchema = v.looseObject({ slot: v.string(), commit: lastCommitSchema });

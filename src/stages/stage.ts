/**
 * The contract of a stage: one schema, one promise about memory, one generator.
 *
 * A stage does not know its neighbours, its position, its spans, its retry count, or that YAML exists.
 */
import type { GenericSchema, InferInput, InferOutput } from "valibot";
import type { Kind, Kinds } from "./nouns.ts";
import type { Destination } from "./destinations/destination.ts";
import type { Lease } from "./lease.ts";
import type { CacheCounters } from "./transforms/lookup-cache.ts";
import type { Spool } from "./pages/spool-store.ts";
import type { Query } from "./queries/queries.ts";
import type { Pool } from "../workers/pool.ts";

/** Facts and warnings for the operator; never row values, never secrets. */
export interface Log {
  info(message: string): void;
  warn(message: string): void;
}

/** Everything a stage may use of the run around it. Has few things and does not grow. */
export interface StageContext {
  /** Fires when the run must stop; every wait of a stage listens to it. */
  readonly signal: AbortSignal;
  /** Where page memory comes from. */
  readonly lease: Lease;
  /** Worker threads for work on bytes. */
  readonly pool: Pool;
  /** The run's durable folder. */
  readonly spool: Spool;
  /** Where the run's objects go. */
  readonly destination: Destination;
  readonly run: { readonly id: string; readonly pipeline: string };
  readonly log: Log;
  /** Asks a PostgreSQL for a few rows; statements asked in a loop are noticed. */
  readonly query: Query;
  /** A stage that keeps a cache adds it here, where metrics look. */
  readonly caches: CacheCounters[];
}

/** The context a stage gets while rows are still rows: no lease, pool or spool is needed there. */
export type RowContext = Pick<StageContext, "signal" | "log">;

/** The context of row work, which may ask questions of its own. */
export type WorkContext = RowContext & Pick<StageContext, "query">;

/** A stage that holds this many bytes at most, whatever the data is like. */
export type HeldBytes = number;

export interface StageDefinition<
  Name extends string = string,
  Schema extends GenericSchema = GenericSchema,
  Takes extends Kind = Kind,
  Gives extends Kind = Kind,
> {
  /** Stage name = file = export = YAML key = test file = span name = reference heading. */
  readonly name: Name;
  /** One sentence for the reference. */
  readonly summary: string;
  readonly config: Schema;
  /** The field a bare YAML scalar fills: `serialize: ndjson` is `serialize: { format: ndjson }`. */
  readonly shorthand?: string;
  readonly takes: Takes;
  readonly gives: Gives;
  /** Bytes at most that the stage keeps beside the lease: by its config, the run's page size and its worker threads. */
  holds(config: InferOutput<Schema>, pageBytes: number, threads: number): HeldBytes;
  /**
   * Runs once, with complete and valid config. Owns what it opens and closes it when its generator is returned
   * or `ctx.signal` fires.
   * @throws PipelineError and nothing else on purpose.
   */
  open(
    config: InferOutput<Schema>,
    ctx: StageContext,
    input: AsyncIterable<Kinds[Takes]>,
  ): AsyncIterable<Kinds[Gives]>;
  /**
   * Runs once the destination has every page, also when the stage itself was needed no more. It never fails a run: what
   * it could not do it says in the log.
   */
  settle?(config: InferOutput<Schema>, ctx: StageContext): Promise<void>;
}

/**
 * A stage as it stands in a pipeline: which one, and its config as the user wrote it.
 * The call `chunk({ size: "1MiB" })` in code and the line `- chunk: 1MiB` in YAML both make one.
 */
export interface StageUse<Takes extends Kind = Kind, Gives extends Kind = Kind> {
  readonly definition: AnyStage;
  readonly input: unknown;
  /** Types only: what the stage takes and gives. */
  readonly takes: Takes;
  readonly gives: Gives;
}

// The registry holds stages of every config; `never` in argument position is what makes them assignable.
// oxlint-disable-next-line typescript/no-explicit-any
export type AnyStage = StageDefinition<string, any, any, any>;

export type Stage<
  Name extends string,
  Schema extends GenericSchema,
  Takes extends Kind,
  Gives extends Kind,
> = StageDefinition<Name, Schema, Takes, Gives> &
  ((input: InferInput<Schema> | string | number | readonly unknown[]) => StageUse<Takes, Gives>);

/** Turns a definition into a stage: callable in code to place it in a pipeline. */
export function defineStage<
  const Name extends string,
  Schema extends GenericSchema,
  Takes extends Kind,
  Gives extends Kind,
>(definition: StageDefinition<Name, Schema, Takes, Gives>): Stage<Name, Schema, Takes, Gives> {
  const { name, ...rest } = definition;
  const place = (input: unknown): StageUse<Takes, Gives> => ({
    definition: stage as AnyStage,
    input,
    takes: definition.takes,
    gives: definition.gives,
  });
  Object.defineProperty(place, "name", { value: name });
  const stage: unknown = Object.assign(place, rest);
  return stage as Stage<Name, Schema, Takes, Gives>;
}

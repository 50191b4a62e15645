/** A pipeline's stages run by `flow` alone, with a spool, a lease and a destination the test can look into. */
import { mkdir } from "node:fs/promises";
import type { Pipeline } from "../../src/pipeline/define.ts";
import { flow } from "../../src/pipeline/flow.ts";
import { planPipeline } from "../../src/pipeline/plan.ts";
import type { RunFolder } from "../../src/pipeline/run-folder.ts";
import type { Destination } from "../../src/stages/destinations/destination.ts";
import { createLease, type Lease } from "../../src/stages/lease.ts";
import { sealedMost } from "../../src/stages/pages/chunk.ts";
import { bufferBytes } from "../../src/stages/pages/spool-flush.ts";
import { openSpool, type Spool } from "../../src/stages/pages/spool-store.ts";
import { startTelemetry } from "../../src/telemetry/sdk.ts";
import { watchRun } from "../../src/telemetry/watch.ts";
import type { Pool } from "../../src/workers/pool.ts";
import { wholeOf } from "../../src/stages/durable-file.ts";
import { testEnv } from "../fixtures/pipelines.ts";

export interface FlowOptions {
  readonly pool: Pool;
  readonly path: string;
  readonly apart?: boolean;
  readonly signal?: AbortSignal;
  readonly put?: Destination["put"];
  readonly maxBytes?: number;
}

export interface Flowed {
  /** What the destination has, by the names of pages. */
  readonly objects: Map<string, Uint8Array>;
  readonly lease: Lease;
  readonly spool: Spool;
  readonly stages: readonly string[];
  readonly notes: readonly string[];
  /** What `flow` threw. */
  readonly error: unknown;
}

/** Runs until the flow ends, well or not; the spool is closed then. */
export async function flowThrough(pipeline: Pipeline, options: FlowOptions): Promise<Flowed> {
  const { pool, path, apart = false, signal, maxBytes = 2 ** 30 } = options;
  const plan = await planPipeline(pipeline, { resolve: "full", env: testEnv, apart });
  await mkdir(path, { recursive: true });
  const key = Buffer.alloc(32, 5);
  const spool = await openSpool({
    folder: path,
    maxBytes,
    fullTimeoutMillis: plan.spool.fullTimeout,
    key,
    bufferBytes: bufferBytes(sealedMost(plan.report.pageBytes)),
  });
  const lease = createLease(plan.report.leaseBytes);
  const objects = new Map<string, Uint8Array>();
  const keep: Destination["put"] = async ({ name, bytes }) =>
    void objects.set(name.split("/").at(-1)!, Uint8Array.from(await wholeOf(bytes)));
  const telemetry = await startTelemetry(undefined, {}, { service: { version: "0" } });
  const log = { info() {}, warn() {} };
  const error: unknown = await flow({
    plan,
    folder: { record: { runId: "r1", pipeline: plan.report.name } } as RunFolder,
    spool,
    lease,
    pool,
    destination: { url: "test:", put: options.put ?? keep } as Destination,
    watch: watchRun({ telemetry, pipeline: plan.report.name, runId: "r1" }),
    signal,
    log,
    query: () => Promise.reject(new Error("no stage asks")),
    caches: [],
    onExpected: () => {},
  }).then(
    () => undefined,
    (reason: unknown) => reason,
  );
  await spool.close();
  const { stages, notes } = plan.report;
  // Several are put at once; in what order they arrive is nobody's promise.
  const inOrder = new Map([...objects].toSorted(([a], [b]) => (a < b ? -1 : 1)));
  return { objects: inOrder, lease, spool, stages: stages.map(({ name }) => name), notes, error };
}

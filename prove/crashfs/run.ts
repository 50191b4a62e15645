/** A run as `run` makes it, with the real stages, spool and commit, in a world that can end at any moment. */
import type { KeyObject } from "node:crypto";
import { PipelineError } from "../../src/errors.ts";
import { commitRun } from "../../src/pipeline/commit.ts";
import { flow, type FlowInit } from "../../src/pipeline/flow.ts";
import type { PhysicalStage, Plan } from "../../src/pipeline/plan-types.ts";
import { openRunFolder, type RunFolder } from "../../src/pipeline/run-folder.ts";
import type { SigningKey } from "../../src/pipeline/signing-key.ts";
import type { Destination } from "../../src/stages/destinations/destination.ts";
import { openFile } from "../../src/stages/destinations/file.ts";
import { createLease } from "../../src/stages/lease.ts";
import { chunk } from "../../src/stages/pages/chunk.ts";
import { sealPages } from "../../src/stages/pages/seal-pages.ts";
import type { FlushPolicy } from "../../src/stages/pages/spool-flush.ts";
import { openSpool, type Spool } from "../../src/stages/pages/spool-store.ts";
import { spool as spoolStage } from "../../src/stages/pages/spool.ts";
import { upload } from "../../src/stages/pages/upload.ts";
import type { AnyStage } from "../../src/stages/stage.ts";
import type { World } from "../../src/stages/world.ts";
import type { RunWatch } from "../../src/telemetry/watch.ts";
import type { Pool } from "../../src/workers/pool.ts";
import { pageBytes, sealWork, type Dataset, type SealedPages } from "./pages.ts";
import type { Random } from "./files.ts";

export const spoolDir = "/spool";
export const outDir = "/out";
export const pipeline = "crash";

/** How a run is set up: the same for all attempts of one state. */
export interface Setup {
  readonly dataset: Dataset;
  readonly policy: FlushPolicy;
  readonly bufferBytes: number;
  readonly maxBytes: number;
  readonly concurrency: number;
}

/** What becomes of one attempt, besides what its disk does. */
export interface Fortune {
  /** The source ends with an error behind so many rows. */
  readonly sourceRows: number;
  /** The chance that a store fails, before it has done its work or after. */
  readonly storeFails: number;
}

export interface Attempt extends Setup {
  readonly sealed: SealedPages;
  readonly key: { readonly privateKey: KeyObject; readonly publicText: string };
  readonly world: World;
  readonly random: Random;
  /** Gives work its turn in the world. */
  readonly turn: <T>(work: () => T) => Promise<T>;
  readonly fortune: Fortune;
  readonly signal: AbortSignal;
  /** A planted bug puts another spool in its place. */
  readonly plant?: (spool: Spool, folder: string, world: World) => Spool;
}

/** @returns the id of the run that is committed now */
export async function runOnce(attempt: Attempt): Promise<string> {
  const { world } = attempt;
  const url = new URL(`file://${outDir}`);
  const destination = failing(await openFile(url, { timeoutMillis: 1000, world }), attempt);
  const folder = await openRunFolder({
    dir: spoolDir,
    pipeline,
    configDigest: "0".repeat(64),
    meaning: "",
    destination: url.href,
    restart: false,
    world,
    takeLock: () => ({ release() {} }),
  });
  if (folder.committed) {
    await folder.commit(folder.last!);
    return folder.last!.runId;
  }
  return await runInFolder(attempt, folder, destination);
}

async function runInFolder(attempt: Attempt, folder: RunFolder, destination: Destination) {
  const { world, signal, plant = (spool: Spool) => spool } = attempt;
  const opened = await openSpool({
    folder: folder.path,
    maxBytes: attempt.maxBytes,
    fullTimeoutMillis: 1000,
    key: Buffer.from(folder.record.key, "hex"),
    bufferBytes: attempt.bufferBytes,
    policy: attempt.policy,
    world,
  });
  const spool = plant(opened, folder.path, world);
  try {
    await folder.save({ ...folder.record, traceparent: "00-1-1-01" });
    const plan = planOf(attempt);
    const lease = createLease(2 ** 24);
    const idle = { log: { info() {}, warn() {} }, onExpected() {}, watch, caches: [] };
    const pool = poolOf(attempt);
    const flowing = { ...idle, plan, folder, spool, lease, pool, destination, signal };
    await flow(flowing as unknown as FlowInit);
    const key = attempt.key as SigningKey;
    const last = await commitRun({ plan, folder, spool, destination, key, signal, world });
    return last.runId;
  } finally {
    await spool.close().catch(() => {});
  }
}

const watch = {
  wrap: (_stage, input, open) => open(input),
} as RunWatch;

const poolOf = ({ sealed, random, turn }: Attempt): Pool => ({
  threads: 2,
  inFlight: 0,
  seal: (task) => turn(() => sealed.seal(task, random)),
  close: async () => {},
});

function planOf({ dataset, concurrency, sealed, fortune }: Attempt): Plan {
  const source: PhysicalStage = stageOf({
    name: "source",
    takes: "nothing",
    gives: "records",
    open: () => give(dataset, fortune.sourceRows),
  });
  const seal = stageOf({
    name: "seal",
    takes: "pages",
    gives: "sealed",
    open: (ctx, input) => sealPages(sealWork(sealed.recipient), ctx, input as never),
  });
  const stages = [
    source,
    physical(chunk, { size: pageBytes }),
    seal,
    physical(spoolStage, {}),
    physical(upload, { concurrency }),
  ];
  const layers = { compress: "zstd", encrypt: "age" } as const;
  return { stages, layers, keepsRows: true } as unknown as Plan;
}

const stageOf = (stage: Pick<PhysicalStage, "name" | "takes" | "gives" | "open">) => ({
  from: [],
  holds: () => 0,
  ...stage,
});

const physical = ({ name, takes, gives, open }: AnyStage, config: object): PhysicalStage =>
  stageOf({
    name,
    takes,
    gives,
    open: (ctx, input) => open(config, ctx, input),
  });

async function* give({ batches }: Dataset, rows: number) {
  for (const [row, batch] of batches.entries()) {
    if (row >= rows) throw new PipelineError("source-failed", "the source died");
    yield batch;
  }
}

/** A store whose answers get lost, or that fails before it has done anything. */
function failing(destination: Destination, { random, fortune }: Attempt): Destination {
  const lost = () => new PipelineError("destination-failed", "the store failed");
  return {
    ...destination,
    async put(object, signal) {
      if (random() < fortune.storeFails) throw lost();
      await destination.put(object, signal);
      if (random() < fortune.storeFails) throw lost();
    },
  };
}

/**
 * Rows read against rows kept: the first rows of the source through the row stages, each by itself and in JavaScript, so
 * that what a stage throws away can be seen before an export reads it all.
 */
import { createLease } from "../stages/lease.ts";
import type { RowBatch } from "../stages/nouns.ts";
import { createQueries } from "../stages/queries/queries.ts";
import type { Log, StageContext } from "../stages/stage.ts";
import type { Pipeline } from "./define.ts";
import { firstRows } from "./first-rows.ts";
import type { PhysicalStage, Plan } from "./plan-types.ts";
import { planPipeline } from "./plan.ts";

export interface SampleOptions {
  /** Rows of the source to read at most. */
  readonly rows: number;
  readonly signal: AbortSignal;
  readonly log: Log;
  readonly env?: Readonly<Record<string, string | undefined>>;
}

export interface SampledStage {
  readonly name: string;
  readonly rowsIn: number;
  readonly rowsOut: number;
  /** Whether an export lets the source's query do this stage's work. */
  readonly inQuery: boolean;
  /** What would read less, where the stage drops much and the query does not know. */
  readonly advice?: string;
}

export interface Sample {
  /** Rows the source gave. */
  readonly rows: number;
  readonly stages: readonly SampledStage[];
}

/** Dropping less than this is not worth another query. */
const wastedShare = 0.1;

/**
 * Reads a sample; nothing is written anywhere.
 * @throws PipelineError as the source and the row stages do
 */
export async function sampleRows(pipeline: Pipeline, options: SampleOptions): Promise<Sample> {
  const { env = process.env } = options;
  const plan = await planPipeline(pipeline, { resolve: "full", env, apart: true });
  const pushed = (await planPipeline(pipeline, { resolve: "full", env })).report.pushed?.stages;
  const end = plan.stages.findIndex(({ gives }) => gives !== "rows");
  const counts = await countRows(plan, plan.stages.slice(0, end), options);
  return {
    rows: counts[0]?.rowsOut ?? 0,
    stages: counts.slice(1).map((count, at) => {
      const inQuery = at < (pushed?.length ?? 0);
      const advice = inQuery ? undefined : advise(count, plan.stages[0]!);
      return { ...count, inQuery, ...(advice !== undefined && { advice }) };
    }),
  };
}

interface Count {
  readonly name: string;
  rowsIn: number;
  rowsOut: number;
}

async function countRows(
  plan: Plan,
  stages: readonly PhysicalStage[],
  { rows, signal, log }: SampleOptions,
): Promise<readonly Count[]> {
  const queries = createQueries(signal, log.warn);
  const lease = createLease(plan.report.leaseBytes);
  const { query } = queries;
  // No stage of rows asks for more of a run than this.
  const ctx = { signal, log, lease, query, caches: [] } as unknown as StageContext;
  const counts = stages.map(({ name }): Count => ({ name, rowsIn: 0, rowsOut: 0 }));
  let items: AsyncIterable<unknown> = nothing();
  for (const [at, stage] of stages.entries()) {
    const opened = stage.open(ctx, items);
    const cut = at === 0 ? firstRows(opened, rows) : opened;
    items = watch(cut as AsyncIterable<RowBatch>, (passed) => {
      counts[at]!.rowsOut += passed;
      if (counts[at + 1]) counts[at + 1]!.rowsIn += passed;
    });
  }
  try {
    for await (const _batch of items);
    return counts;
  } finally {
    await queries.close();
  }
}

async function* nothing(): AsyncGenerator<never> {}

async function* watch(
  batches: AsyncIterable<RowBatch>,
  passed: (rows: number) => void,
): AsyncGenerator<RowBatch> {
  for await (const batch of batches) {
    passed(batch.rows.length);
    yield batch;
  }
}

function advise({ name, rowsIn, rowsOut }: Count, source: PhysicalStage): string | undefined {
  if (rowsIn === 0 || rowsOut > rowsIn * (1 - wastedShare)) return undefined;
  const asks = ["postgres", "mysql", "sqlite", "duckdb"].includes(source.name);
  const share = Math.round((100 * (rowsIn - rowsOut)) / rowsIn);
  return asks
    ? `${share} % of the rows are read to be dropped by ${name}; say its condition in \`query\`, or as a \`filter\` right behind ${source.name}`
    : `${share} % of the rows are dropped by ${name}, which ${source.name} cannot know before`;
}

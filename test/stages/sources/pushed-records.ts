/** Records of a query behind row stages: as the plan makes them, and as every stage apart makes them. */
import * as v from "valibot";
import { fuseStages } from "../../../src/pipeline/fuse.ts";
import { pushDown } from "../../../src/pipeline/pushdown.ts";
import { serialize } from "../../../src/stages/formats/serialize.ts";
import type { Column, RecordBatch, RowBatch } from "../../../src/stages/nouns.ts";
import { postgres } from "../../../src/stages/sources/postgres.ts";
import type { AnyStage } from "../../../src/stages/stage.ts";
import { filter } from "../../../src/stages/transforms/filter.ts";
import { select } from "../../../src/stages/transforms/select.ts";
import { testContext } from "../../contract/stage-contract.ts";

export type Step = { select: readonly string[] } | { filter: Readonly<Record<string, unknown>> };
export type Format = "ndjson" | "json" | "csv";

export interface Asked {
  readonly url: string;
  readonly query: string;
  readonly params?: readonly (string | number | boolean | null)[];
  readonly steps: readonly Step[];
  readonly format?: Format;
}

export interface Outcome {
  readonly text?: string;
  readonly records: number;
  /** Rows the source proved. */
  readonly proved?: number;
  readonly columns?: readonly Column[];
  readonly expected?: number | undefined;
  readonly error?: string;
}

function stagesOf({ url, query, params = [], steps, format = "ndjson" }: Asked) {
  const stage = (definition: AnyStage, config: unknown) => ({
    name: definition.name,
    definition,
    config: v.parse(definition.config, config),
  });
  return [
    stage(postgres, { url, query, params }),
    ...steps.map((step) =>
      "select" in step ? stage(select, { columns: step.select }) : stage(filter, step.filter),
    ),
    stage(serialize, { format }),
  ];
}

/** Reads all records; an error is an outcome too. */
export async function outcomeOf(asked: Asked, how: "pushed" | "apart"): Promise<Outcome> {
  const apart = how === "apart";
  const stages = stagesOf(asked);
  const physical = fuseStages(apart ? stages : pushDown(stages).stages, apart).stages;
  const ctx = testContext();
  let items: AsyncIterable<unknown> = noInput();
  for (const stage of physical) {
    items = stage.open(ctx, items);
    if (stage.takes === "nothing") items = tellExpected(items, (rows) => (expected = rows));
  }
  const parts: Uint8Array[] = [];
  let records = 0;
  let last: RecordBatch | undefined;
  let expected: number | undefined;
  try {
    for await (const batch of items as AsyncIterable<RecordBatch>) {
      parts.push(batch.bytes.slice());
      if (!batch.framing) records += batch.ends.length;
      last = batch;
    }
  } catch (error) {
    return { records, error: `${(error as { code?: string }).code}: ${(error as Error).message}` };
  }
  const text = Buffer.concat(parts).toString("utf8");
  return { text, records, proved: last!.end!.rows, columns: last!.columns, expected };
}

/** What the source says before the first row. */
async function* tellExpected(
  items: AsyncIterable<unknown>,
  onExpected: (rows: number) => void,
): AsyncGenerator {
  for await (const item of items) {
    const { expects } = item as RowBatch | RecordBatch;
    if (expects) onExpected(expects.rows);
    yield item;
  }
}

async function* noInput(): AsyncGenerator<never> {}

/** The physical stages of the plan, by what they are made of. */
export const plannedAs = (asked: Asked): readonly string[] =>
  fuseStages(pushDown(stagesOf(asked)).stages).stages.map(({ from }) => from.join("+"));

/** Records of a query behind row stages: as the plan makes them, and as every stage apart makes them. */
import assert from "node:assert/strict";
import * as v from "valibot";
import { fuseStages } from "../../../src/pipeline/fuse.ts";
import type { ConfiguredStage } from "../../../src/pipeline/plan-types.ts";
import { pushDown } from "../../../src/pipeline/pushdown.ts";
import { serialize } from "../../../src/stages/formats/serialize.ts";
import type { Column, RecordBatch, RowBatch } from "../../../src/stages/nouns.ts";
import { postgres } from "../../../src/stages/sources/postgres.ts";
import type { AnyStage } from "../../../src/stages/stage.ts";
import { filter } from "../../../src/stages/transforms/filter.ts";
import { lookup } from "../../../src/stages/transforms/lookup.ts";
import { select } from "../../../src/stages/transforms/select.ts";
import { testContext } from "../../contract/stage-contract.ts";

export type Step =
  | { readonly select: readonly string[] }
  | { readonly filter: Readonly<Record<string, unknown>> }
  /** In the source's database, unless it has a `url` of its own. */
  | { readonly lookup: Readonly<Record<string, unknown>> };
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
  /** What was told of the way that was taken. */
  readonly told: readonly string[];
}

/** As the plan has it, as it has it where the server proves nothing of lookups, or every stage by itself. */
export type How = "pushed" | "otherwise" | "apart";

function stagesOf({ url, query, params = [], steps, format = "ndjson" }: Asked) {
  const stage = (definition: AnyStage, config: unknown) => ({
    name: definition.name,
    definition,
    config: v.parse(definition.config, config),
  });
  return [
    stage(postgres, { url, query, params }),
    ...steps.map((step) => {
      if ("select" in step) return stage(select, { columns: step.select });
      if ("filter" in step) return stage(filter, step.filter);
      return stage(lookup, { url, ...step.lookup });
    }),
    stage(serialize, { format }),
  ];
}

/** Reads all records; an error is an outcome too. */
export async function outcomeOf(asked: Asked, how: How): Promise<Outcome> {
  const physical = fuseStages(planned(stagesOf(asked), how), how === "apart").stages;
  const told: string[] = [];
  const info = (message: string) => void told.push(message);
  const ctx = testContext({ log: { info, warn: info } });
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
    return {
      told,
      records,
      error: `${(error as { code?: string }).code}: ${(error as Error).message}`,
    };
  }
  const text = Buffer.concat(parts).toString("utf8");
  return { told, text, records, proved: last!.end!.rows, columns: last!.columns, expected };
}

/** All ways give the same; gives what, and whether the server joined. */
export async function sameEveryWay(
  asked: Asked,
): Promise<Outcome & { readonly isJoined: boolean }> {
  const ways = ["pushed", "otherwise", "apart"] as const;
  const outcomes = await Promise.all(ways.map((how) => outcomeOf(asked, how)));
  const [pushed, ...others] = outcomes as [Outcome, ...Outcome[]];
  for (const here of others) {
    assert.equal(pushed.error, here.error);
    assert.equal(pushed.text, here.text, JSON.stringify(asked.steps));
    if (pushed.records > 0) assert.deepEqual(pushed.columns, here.columns);
  }
  const joined = "lookup: the server joins its rows, in the query of the source";
  return { ...pushed, isJoined: pushed.told[0] === joined };
}

function planned(stages: readonly ConfiguredStage[], how: How): readonly ConfiguredStage[] {
  if (how === "apart") return stages;
  const pushed = pushDown(stages).stages;
  return how === "pushed" ? pushed : pushed.flatMap((stage) => stage.otherwise ?? stage);
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

/** Row stages: a stage that says its work as a row function, so that the plan can fuse it with its neighbours. */
import type { GenericSchema, InferOutput } from "valibot";
import { defineStage, type Stage, type StageDefinition, type WorkContext } from "../stage.ts";
import { applyRowWork, type RowWork } from "./row-work.ts";

export interface TransformDefinition<Name extends string, Schema extends GenericSchema> {
  readonly name: Name;
  readonly summary: string;
  readonly config: Schema;
  readonly shorthand?: string;
  /** The row work for this config; called once a run. */
  work(config: InferOutput<Schema>, ctx: WorkContext): RowWork | Promise<RowWork>;
}

/** A stage whose `work` may be fused with its neighbours'. */
export type RowStage = StageDefinition & Pick<TransformDefinition<string, GenericSchema>, "work">;

export const isRowStage = (stage: object): stage is RowStage => "work" in stage;

/** A few batches of rows. */
const heldBytes = 1024 * 1024;

export function defineTransform<const Name extends string, Schema extends GenericSchema>(
  definition: TransformDefinition<Name, Schema>,
): Stage<Name, Schema, "rows", "rows"> {
  const stage = defineStage<Name, Schema, "rows", "rows">({
    ...definition,
    takes: "rows",
    gives: "rows",
    holds: () => heldBytes,
    async *open(config, ctx, input) {
      yield* applyRowWork([await definition.work(config, ctx)], definition.name, input, ctx.signal);
    },
  });
  return Object.assign(stage, { work: definition.work });
}

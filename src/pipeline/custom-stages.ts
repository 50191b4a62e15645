/** Stages of the user's own, by the path of their module. */
import { resolve } from "node:path";
import * as v from "valibot";
import { PipelineError } from "../errors.ts";
import type { AnyStage } from "../stages/stage.ts";
import { defineTransform } from "../stages/transforms/define-transform.ts";
import { importModule } from "../stages/transforms/load-module.ts";
import { isRowWork, type RowWork } from "../stages/transforms/row-work.ts";
import type { PipelineSpec } from "./spec.ts";
import { isModulePath } from "./validate.ts";

/**
 * Loads every stage that stands in the spec by path. A module's default export is a stage (of `defineStage`) or row
 * work, which then is a `map` of that name without config.
 * @throws PipelineError `config-invalid` when a module cannot be loaded or exports neither
 */
export async function loadCustomStages(
  spec: PipelineSpec,
  baseDir: string,
): Promise<ReadonlyMap<string, AnyStage>> {
  const stages = new Map<string, AnyStage>();
  for (const name of spec.stages.flatMap((stage) => Object.keys(stage ?? {}))) {
    if (!isModulePath(name) || stages.has(name)) continue;
    const exported = (await importModule(resolve(baseDir, name), name))["default"];
    stages.set(name, asStage(name, exported));
  }
  return stages;
}

function asStage(name: string, exported: unknown): AnyStage {
  if (isStage(exported)) return Object.assign({}, exported, { name });
  if (isRowWork(exported)) return asTransform(name, exported);
  throw new PipelineError(
    "config-invalid",
    `${name}: the module's default export must be a stage (defineStage) or row work (a function, generator, Transform or chain)`,
  );
}

function asTransform(name: string, work: RowWork): AnyStage {
  const summary = "Changes rows with the work of a module.";
  const stage = defineTransform({ name, summary, config: v.strictObject({}), work: () => work });
  return Object.assign({}, stage, { name });
}

function isStage(value: unknown): value is AnyStage {
  const stage = value as Partial<AnyStage> | null | undefined;
  return (
    typeof stage?.open === "function" &&
    typeof stage.takes === "string" &&
    typeof stage.gives === "string"
  );
}

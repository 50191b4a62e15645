/** Pipelines in code: the same plain spec as YAML, with the wiring checked by the compiler. */
import { PipelineError } from "../errors.ts";
import type { Kind } from "../stages/nouns.ts";
import { registry } from "../stages/registry.ts";
import type { AnyStage, StageUse } from "../stages/stage.ts";
import { map } from "../stages/transforms/map.ts";
import type { RowWork } from "../stages/transforms/row-work.ts";
import type { Locate } from "./problems.ts";
import type { PipelineSpec } from "./spec.ts";

/** A stage in its place, or row work (a function, generator function, Transform or chain) standing for `map`. */
export type Placed = StageUse | RowWork;

type TakenBy<S> = S extends StageUse<infer Takes> ? Takes : "rows";
type GivenBy<S> = S extends StageUse<Kind, infer Gives> ? Gives : "rows";

/** What the compiler prints where two stages do not fit. */
export interface Miswired<Needs extends string, Gets extends string> {
  readonly "this stage takes": Needs;
  readonly "the stage before gives": Gets;
}

/** The list itself where every stage takes what the one before gives; the misfit where it does not. */
export type Wired<
  Stages extends readonly Placed[],
  Before extends Kind = "nothing",
> = Stages extends readonly [infer First extends Placed, ...infer Rest extends readonly Placed[]]
  ? TakenBy<First> extends Before
    ? readonly [First, ...Wired<Rest, GivenBy<First>>]
    : readonly [Miswired<TakenBy<First>, Before>, ...Rest]
  : Before extends "receipts"
    ? readonly []
    : readonly [Miswired<"a further stage, up to upload", Before>];

/** A pipeline that can be planned and run: from code here, from YAML by `loadPipeline`. */
export interface Pipeline {
  readonly spec: PipelineSpec;
  /** Stages that are not spillway's own, by the name they stand under in the spec. */
  readonly customStages: ReadonlyMap<string, AnyStage>;
  /** Folder that module paths and `${file:…}` are relative to. */
  readonly baseDir: string;
  /** Where in the file a part of the spec stands, for error messages. */
  readonly locate?: Locate;
}

/**
 * Defines a pipeline in code.
 * @param definition the spec of a YAML file, with stages made by calling them: `chunk("1MiB")`
 * @throws PipelineError `config-invalid` when two different stages share a name
 */
export function definePipeline<const Stages extends readonly Placed[]>(
  definition: Omit<PipelineSpec, "stages"> & { readonly stages: Stages & Wired<Stages> },
): Pipeline {
  const customStages = new Map<string, AnyStage>();
  const placed = definition.stages as readonly Placed[];
  const stages = placed.map((item) => {
    const { definition: stage, input } = isStageUse(item) ? item : map({ module: item });
    refuseNamesake(stage, customStages);
    customStages.set(stage.name, stage);
    return { [stage.name]: input };
  });
  return { spec: { ...definition, stages }, customStages, baseDir: process.cwd() };
}

/** A spec knows stages by their names, so a name means one stage; the same one may stand in several places. */
function refuseNamesake(stage: AnyStage, others: ReadonlyMap<string, AnyStage>): void {
  const own = registry.get(stage.name);
  const known = own ?? others.get(stage.name);
  if (known === undefined || known === stage) return;
  const whose = own
    ? "a stage of your own has the name of spillway's"
    : "two different stages have the name";
  throw new PipelineError(
    "config-invalid",
    `stages: ${whose} \`${stage.name}\`; give it another name`,
  );
}

function isStageUse(item: Placed): item is StageUse {
  return typeof item === "object" && "definition" in item;
}

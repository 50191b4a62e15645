/**
 * A spec against the schema of pipelines and the schema of each of its stages: every problem at once, each at its place.
 */
import * as v from "valibot";
import type { AnyStage } from "../stages/stage.ts";
import { checkConfig, type Resolved } from "./check-config.ts";
import { isBelow, problemsError, quote, type Locate, type Path, type Problem } from "./problems.ts";
import { findReferenceProblems, isMapping, measureReference } from "./references.ts";
import { resolveReferences, type ResolveOptions } from "./resolve-references.ts";
import { describeField } from "./schema-walk.ts";
import {
  memorySchema,
  specSchema,
  type MemoryConfig,
  type PipelineSpec,
  type ScheduleConfig,
  type TelemetryConfig,
} from "./spec.ts";
import { suggestion } from "./suggest.ts";

export type Registry = ReadonlyMap<string, AnyStage>;

export interface ValidStage {
  /** As written: a stage's name, or the path of a module. */
  readonly name: string;
  /** Absent for a custom stage by path that the registry does not know yet. */
  readonly definition: AnyStage | undefined;
  /** What the stage's schema made of it, defaults filled in; as written where there is no definition. */
  readonly config: unknown;
  /** As written. */
  readonly input: unknown;
  /** Where the config stands in the spec. */
  readonly path: Path;
}

export interface ValidSpec {
  readonly name: string;
  /** Defaults where references hide it. */
  readonly memory: MemoryConfig;
  readonly sign?: string;
  readonly telemetry?: TelemetryConfig;
  readonly schedule?: ScheduleConfig;
  readonly stages: readonly ValidStage[];
  /** Places whose reference hides a number or another checked value; empty once references are resolved. */
  readonly unresolved: readonly Path[];
}

export interface ValidateOptions {
  /** `none` leaves secrets alone: for `plan` and `check`. `full` is for specs of `resolveSpec`. */
  readonly resolve: Resolved;
  readonly locate?: Locate | undefined;
}

/** True for the key of a custom stage: the path of its module, relative to the pipeline's file. */
export const isModulePath = (name: string): boolean => /^(?:\.{0,2}\/)/.test(name);

/**
 * Checks a spec. A custom stage by path is taken as it is, unless the registry knows its path.
 * @throws PipelineError `config-invalid` with every problem, one a line.
 */
export function validateSpec(
  spec: PipelineSpec,
  registry: Registry,
  { resolve, locate }: ValidateOptions,
): ValidSpec {
  const { top, stages, problems } = checkSpec(spec, registry, resolve);
  if (problems.length > 0) throw problemsError(problems, locate);
  const { name, memory, sign, telemetry, schedule } = top.output as {
    name: string;
    memory: WrittenMemory;
    sign?: string;
    telemetry?: TelemetryConfig;
    schedule?: ScheduleConfig;
  };
  return {
    name,
    memory: fillMemory(memory),
    ...(sign !== undefined && { sign }),
    ...(telemetry !== undefined && { telemetry }),
    ...(schedule !== undefined && { schedule }),
    stages: stages.flatMap(({ stage }) => stage ?? []),
    unresolved: [top, ...stages].flatMap((checked) => checked.unresolved),
  };
}

function checkSpec(spec: PipelineSpec, registry: Registry, resolve: Resolved) {
  // Looks at every text first: refuses what is nested without end, before anything else follows it.
  const wrong = findReferenceProblems(spec);
  const top = checkConfig(specSchema, spec, [], resolve);
  const stages = listStages(spec).map((entry, index) =>
    checkStage(entry, index, registry, resolve),
  );
  const others = [top, ...stages].flatMap((checked) => checked.problems);
  const problems = resolve === "full" ? others : [...wrong, ...withoutPlaces(others, wrong)];
  return { top, stages, problems };
}

/** The short form or the long one; each number may still be the text of a reference. */
type WrittenMemory = number | string | Readonly<Partial<Record<keyof MemoryConfig, unknown>>>;

function fillMemory(written: WrittenMemory): MemoryConfig {
  const given = typeof written === "object" ? written : { budget: written };
  const known = Object.entries(given).filter(
    ([, value]) => typeof value !== "string" || measureReference(value) === "none",
  );
  return v.parse(memorySchema, Object.fromEntries(known));
}

/**
 * A copy of the spec with its references resolved, each as its field wants it: secrets only from files of their
 * owner alone, numbers as numbers.
 * @throws PipelineError `config-invalid` naming each variable or file that is missing, and what else is wrong; never a value.
 */
export function resolveSpec(
  spec: PipelineSpec,
  registry: Registry,
  options: Omit<ResolveOptions, "field" | "others">,
): Promise<PipelineSpec> {
  return resolveReferences(spec, {
    ...options,
    field: (path) => describeField(registry, path),
    others: () => checkSpec(spec, registry, "none").problems,
  });
}

/** What looks like a reference and is none is said once, not again as a text that does not fit its field. */
function withoutPlaces(problems: readonly Problem[], said: readonly Problem[]): Problem[] {
  return problems.filter(({ path }) => !said.some((other) => isBelow(path, other.path)));
}

interface CheckedStage {
  readonly stage?: ValidStage;
  readonly problems: readonly Problem[];
  readonly unresolved: readonly Path[];
}

const refuse = (path: Path, message: string, at?: "key"): CheckedStage => ({
  problems: [{ path, message, ...(at && { at }) }],
  unresolved: [],
});

function listStages(spec: PipelineSpec): readonly unknown[] {
  return Array.isArray(spec.stages) ? spec.stages : [];
}

function checkStage(
  entry: unknown,
  index: number,
  registry: Registry,
  mode: Resolved,
): CheckedStage {
  // What is no mapping has been refused with the rest of the spec.
  if (!isMapping(entry)) return { problems: [], unresolved: [] };
  const [name, second] = Object.keys(entry);
  if (name === undefined) return refuse(["stages", index], "expected the name of a stage");
  const path = ["stages", index, name];
  if (second !== undefined)
    return refuse(["stages", index, second], explainSecond(name, second), "key");
  const definition = registry.get(name);
  const input = entry[name];
  if (definition) return checkInput(definition, input, path, mode);
  if (isModulePath(name)) {
    const stage = { name, definition, config: input, input, path };
    return { stage, problems: [], unresolved: [] };
  }
  const names = [...registry.keys()];
  const hint = suggestion(name, names) || `; known stages are ${names.join(", ")}`;
  return refuse(path, `unknown stage ${quote(name)}${hint}`, "key");
}

function explainSecond(name: string, second: string): string {
  return (
    `expected one stage, found ${quote(name)} and ${quote(second)}; ` +
    `indent what belongs to ${quote(name)} below it, begin another stage with a dash`
  );
}

function checkInput(
  definition: AnyStage,
  input: unknown,
  path: Path,
  mode: Resolved,
): CheckedStage {
  const { name, shorthand } = definition;
  const isBare = input !== null && input !== undefined && !isMapping(input);
  if (isBare && shorthand === undefined) {
    return refuse(path, `expected the settings of ${name} as a mapping, one \`key: value\` a line`);
  }
  const config = isBare ? { [shorthand!]: input } : (input ?? {});
  const checked = checkConfig(definition.config as v.GenericSchema, config, path, mode);
  const stage = { name, definition, config: checked.output, input, path };
  return { stage, problems: checked.problems, unresolved: checked.unresolved };
}

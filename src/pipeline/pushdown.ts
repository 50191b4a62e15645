/**
 * Lets the source's query do what row stages right behind it would do in JavaScript.
 *
 * Only PostgreSQL's: every other source makes JavaScript values before anything could be left out. Which stages are
 * pushed follows from the stages as written; why the rows are the same says `postgres-pushdown.ts`.
 */
import {
  mentionsParams,
  quoteName,
  type RowStep,
  wrapQuery,
} from "../stages/sources/postgres-pushdown.ts";
import { postgres, type postgresConfig } from "../stages/sources/postgres.ts";
import { type Condition, conditionOf, filter } from "../stages/transforms/filter.ts";
import { lookup } from "../stages/transforms/lookup.ts";
import { select } from "../stages/transforms/select.ts";
import type { InferOutput } from "valibot";
import type { ConfiguredStage, PushedWork } from "./plan-types.ts";
import { measureReference } from "./references.ts";

export interface Pushdown {
  /** Without the stages that were pushed; the source knows what it does for them. */
  readonly stages: readonly ConfiguredStage[];
  readonly pushed: PushedWork | null;
  readonly notes: readonly string[];
}

type PostgresConfig = InferOutput<typeof postgresConfig>;

/** Pushes the `select` and `filter` stages that stand right behind `postgres` into its query. */
export function pushDown(stages: readonly ConfiguredStage[]): Pushdown {
  const [source, ...others] = stages;
  const rowStages = others.slice(0, countRowStages(others));
  if (source?.definition !== postgres) {
    const notes = rowStages
      .filter(({ definition }) => definition === select || definition === filter)
      .map(
        ({ name }) =>
          `${name} stays in JavaScript: rows of ${source?.name} are read in this process, so nothing is saved before`,
      );
    return { stages, pushed: null, notes };
  }
  const config = source.config as PostgresConfig;
  const steps: RowStep[] = [];
  const notes: string[] = [];
  for (const stage of rowStages) {
    const why = notes[0] ? "it comes after another that stays" : whyNot(stage, config);
    if (why === undefined) steps.push(stepOf(stage));
    else notes.push(`${stage.name} stays in JavaScript: ${why}`);
  }
  if (steps.length === 0) return { stages, pushed: null, notes };
  const names = rowStages.slice(0, steps.length).map(({ name }) => name);
  const merged = {
    ...source,
    from: [source.name, ...names],
    config: { ...config, steps },
  };
  const rest = others.slice(steps.length);
  return {
    stages: [merged, ...rest],
    pushed: { stages: names, ...showQueries(config, steps) },
    notes: [`${names.join(" + ")} run in the query of ${source.name}`, ...notes],
  };
}

function countRowStages(stages: readonly ConfiguredStage[]): number {
  const end = stages.findIndex(
    ({ definition }) => definition.takes !== "rows" || definition.gives !== "rows",
  );
  return end === -1 ? stages.length : end;
}

/** What keeps a stage from being pushed; undefined when nothing does. */
function whyNot({ definition, config }: ConfiguredStage, source: PostgresConfig) {
  if (definition === select) return undefined;
  if (definition === lookup) return "it asks a second query";
  if (definition !== filter || "module" in (config as object)) return "it is your own function";
  if (!asksForTexts(conditionOf(config as WrittenCondition))) return undefined;
  const { query, params } = source;
  if (measureReference(query) !== "none" || mentionsParams(query, params.length)) return undefined;
  return "`query` must mention each of its `params` and no more, so that a parameter more cannot be taken for one of them";
}

function stepOf({ definition, config }: ConfiguredStage): RowStep {
  return definition === select
    ? (config as { columns: readonly string[] })
    : conditionOf(config as WrittenCondition);
}

type WrittenCondition = Parameters<typeof conditionOf>[0];

/** Whether the condition needs a parameter. */
const asksForTexts = ({ wanted }: Condition): boolean =>
  wanted.length === 0 || wanted.some((text) => text !== null);

/**
 * The query as written and what goes to the server, by the names of columns instead of their places. What a condition
 * wants stays a parameter: it can be somebody's name.
 */
function showQueries({ query, params }: PostgresConfig, steps: readonly RowStep[]) {
  let count = params.length;
  const done: string[] = [];
  const conditions: string[] = [];
  let outputs = ["q.*"];
  for (const step of steps) {
    if ("columns" in step) {
      const names = [...new Set(step.columns)].map(quoteName);
      outputs = names.map((name) => `q.${name}`);
      done.push(`select ${names.join(", ")}`);
    } else {
      const condition = showCondition(step, asksForTexts(step) ? (count += 1) : 0);
      const name = quoteName(step.column);
      conditions.push(`q.${name} ${condition}`);
      done.push(`filter ${name} ${condition}`);
    }
  }
  const before = [query.trimEnd(), ...done.map((what) => `then in JavaScript: ${what}`)].join("\n");
  return { before, after: wrapQuery(query, { alias: "q", outputs, conditions }) };
}

function showCondition({ wanted, negated }: Condition, param: number): string {
  if (param === 0) return negated ? "is not null" : "is null";
  if (wanted.length === 1) return negated ? `is distinct from $${param}` : `= $${param}`;
  return `= any ($${param})`;
}

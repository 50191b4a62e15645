/**
 * Lets the source's query do what row stages right behind it would do in JavaScript.
 *
 * Only PostgreSQL's: every other source makes JavaScript values before anything could be left out. Which stages are
 * pushed follows from the stages as written; why the rows are the same say `postgres-pushdown.ts` and `postgres-join.ts`.
 * Of a lookup only the server can tell, when it is asked: so the plan has both ways, and a run takes one.
 */
import type { PushedStep } from "../stages/sources/postgres-join.ts";
import { mentionsParams } from "../stages/sources/postgres-pushdown.ts";
import { postgres, type PostgresConfig } from "../stages/sources/postgres.ts";
import { conditionOf, filter } from "../stages/transforms/filter.ts";
import { lookup } from "../stages/transforms/lookup.ts";
import { select } from "../stages/transforms/select.ts";
import type { InferOutput } from "valibot";
import type { ConfiguredStage, PushedWork } from "./plan-types.ts";
import { asksForTexts, showQueries } from "./pushed-query.ts";
import { measureReference } from "./references.ts";

export interface Pushdown {
  /** Without the stages that were pushed; the source knows what it does for them. */
  readonly stages: readonly ConfiguredStage[];
  readonly pushed: PushedWork | null;
  readonly notes: readonly string[];
}

type LookupConfig = InferOutput<typeof lookup.config>;

/** Pushes the `select`, `filter` and `lookup` stages that stand right behind `postgres` into its query. */
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
  const { pushable, notes } = findPushable(rowStages, config);
  if (pushable.length === 0) return { stages, pushed: null, notes };
  const steps = pushable.map(stepOf);
  const names = pushable.map(({ name }) => name);
  const rest = others.slice(pushable.length);
  const before = pushable.findIndex(({ definition }) => definition === lookup);
  const otherwise = [merge(source, pushable.slice(0, before)), ...pushable.slice(before)];
  const merged = { ...merge(source, pushable), ...(before >= 0 && { otherwise }) };
  return {
    stages: [merged, ...rest],
    pushed: { stages: names, ...showQueries(config, steps) },
    notes: [`${names.join(" + ")} run in the query of ${source.name}`, ...notes],
  };
}

/** The stages that the query may do, from the first on, and why not the others. */
function findPushable(rowStages: readonly ConfiguredStage[], source: PostgresConfig) {
  const pushable: ConfiguredStage[] = [];
  const notes: string[] = [];
  for (const stage of rowStages) {
    const why = notes[0] ? "it comes after another that stays" : whyNot(stage, source);
    if (why === undefined) pushable.push(stage);
    else notes.push(`${stage.name} stays in JavaScript: ${why}`);
  }
  return { pushable, notes };
}

/** The source with what it does for the stages behind it. */
function merge(source: ConfiguredStage, pushed: readonly ConfiguredStage[]): ConfiguredStage {
  if (pushed.length === 0) return source;
  const from = [source, ...pushed].map(({ name }) => name);
  const config = { ...(source.config as PostgresConfig), steps: pushed.map(stepOf) };
  return { ...source, from, config };
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
  if (definition === lookup) return whyNoJoin(config as LookupConfig, source);
  if (definition !== filter || "module" in (config as object)) return "it is your own function";
  if (!asksForTexts(conditionOf(config as WrittenCondition))) return undefined;
  const { query, params } = source;
  if (measureReference(query) !== "none" || mentionsParams(query, params.length)) return undefined;
  return "`query` must mention each of its `params` and no more, so that a parameter more cannot be taken for one of them";
}

function whyNoJoin({ url, query, missing }: LookupConfig, source: PostgresConfig) {
  if (url !== source.url)
    return [url, source.url].some((one) => measureReference(one) !== "none")
      ? "its `url` is written otherwise than the one of the source (a run joins it where both come out the same)"
      : "its `url` is not the one of the source";
  if (missing === "fail") return "`missing: fail` looks at each row";
  if (source.resume === "epochs") return "with `resume: epochs` rows come with their key";
  if (!mentionsParams(query, 0)) return "its `query` mentions a parameter, and has none";
  return undefined;
}

function stepOf({ definition, config }: ConfiguredStage): PushedStep {
  if (definition === select) return config as { columns: readonly string[] };
  if (definition === filter) return conditionOf(config as WrittenCondition);
  const { query, on, missing } = config as LookupConfig & { missing: "keep" | "drop" };
  return { lookup: { query, on, missing } };
}

type WrittenCondition = Parameters<typeof conditionOf>[0];

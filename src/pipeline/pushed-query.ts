/**
 * The query as written and what goes to the server, by the names of columns instead of their places, for people who read a
 * plan. What a condition wants stays a parameter: it can be somebody's name.
 */
import type { JoinedLookup, PushedStep } from "../stages/sources/postgres-join.ts";
import { quoteName, type RowStep, wrapQuery } from "../stages/sources/postgres-pushdown.ts";
import type { Condition } from "../stages/transforms/filter.ts";
import type { PushedWork } from "./plan-types.ts";

interface WrittenQuery {
  readonly query: string;
  readonly params: readonly unknown[];
}

/** The steps one after the other; those between two lookups are one query. */
export function showQueries(
  { query, params }: WrittenQuery,
  steps: readonly PushedStep[],
): Omit<PushedWork, "stages"> {
  let count = params.length;
  let after = query;
  let together: ShownStep[] = [];
  const done: string[] = [];
  for (const step of steps) {
    if ("lookup" in step) {
      done.push(`lookup ${showKeys(step.lookup, ["", ""])} in\n${step.lookup.query.trimEnd()}`);
      after = showJoin(showSteps(after, together), step.lookup);
      together = [];
    } else {
      const shown = showStep(step, () => (count += 1));
      done.push(shown.done);
      together.push(shown);
    }
  }
  return {
    before: [query.trimEnd(), ...done.map((what) => `then in JavaScript: ${what}`)].join("\n"),
    after: showSteps(after, together),
  };
}

interface ShownStep {
  readonly done: string;
  readonly outputs?: readonly string[];
  readonly condition?: string;
}

function showStep(step: RowStep, nextParam: () => number): ShownStep {
  if ("columns" in step) {
    const names = [...new Set(step.columns)].map(quoteName);
    return { done: `select ${names.join(", ")}`, outputs: names.map((name) => `q.${name}`) };
  }
  const condition = `${quoteName(step.column)} ${showCondition(step, nextParam)}`;
  return { done: `filter ${condition}`, condition: `q.${condition}` };
}

function showSteps(query: string, steps: readonly ShownStep[]): string {
  if (steps.length === 0) return query;
  const outputs = steps.findLast((step) => step.outputs)?.outputs ?? ["q.*"];
  const conditions = steps.flatMap(({ condition }) => condition ?? []);
  return wrapQuery(query, { alias: "q", outputs, conditions });
}

/** Of the lookup's columns, its key is not added. */
function showJoin(query: string, lookup: JoinedLookup): string {
  const { missing, query: looked } = lookup;
  return `select q.*, l.*
from (select * from (\n${query.trimEnd()}\n) as q offset 0) as q
${missing === "keep" ? "left join" : "join"} lateral (select * from (\n${looked.trimEnd()}\n) as l
where ${showKeys(lookup, ["l.", "q."])} limit 1) as l on true`;
}

const showKeys = ({ on }: JoinedLookup, [its, own]: readonly [string, string]): string =>
  Object.entries(on)
    .map(([column, key]) => `${its}${quoteName(key)} = ${own}${quoteName(column)}`)
    .join(" and ");

/** Whether the condition needs a parameter. */
export const asksForTexts = ({ wanted }: Condition): boolean =>
  wanted.length === 0 || wanted.some((text) => text !== null);

function showCondition(condition: Condition, nextParam: () => number): string {
  const { wanted, negated } = condition;
  if (!asksForTexts(condition)) return negated ? "is not null" : "is null";
  const param = nextParam();
  if (wanted.length === 1) return negated ? `is distinct from $${param}` : `= $${param}`;
  return `= any ($${param})`;
}

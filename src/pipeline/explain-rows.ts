/** What a plan says of rows: which stages need them as objects, and how lookups will ask. */
import { formatBytes } from "../stages/atoms.ts";
import { lookup } from "../stages/transforms/lookup.ts";
import type { ConfiguredStage } from "./plan-types.ts";
import { formatOf } from "./record-format.ts";

export function explainPath(stages: readonly ConfiguredStage[]): string[] {
  const source = stages[0]?.name;
  const rowStages = stages.filter(
    ({ definition }) => definition.takes === "rows" && definition.gives === "rows",
  );
  // What a format needs of rows is said where stages are fused.
  const asTheyAre = stages.some((stage) => formatOf(stage) === "parquet")
    ? []
    : [`rows of ${source} go to records as they are, no JavaScript object is made`];
  if (rowStages.length === 0) return asTheyAre;
  if (rowStages.every(({ definition }) => definition === lookup))
    return [`rows of ${source} pass lookup as they come, no JavaScript object is made of them`];
  return [
    `rows of ${source} become JavaScript objects for ${rowStages.map(({ name }) => name).join(", ")}`,
  ];
}

/** How a lookup asks depends on what the query gives, so the plan says which way is taken when. */
export function explainLookups([source, ...stages]: readonly ConfiguredStage[]): string[] {
  const urlOf = ({ config }: ConfiguredStage) => (config as { readonly url?: unknown }).url;
  const joined = (source!.otherwise ?? [])
    .filter(isLookup)
    .map(
      (stage) =>
        `lookup is joined by ${source!.name} where the server proves at the start that no two rows of its query have one key, and an index finds each; otherwise it ${wayOf(stage)}`,
    );
  const asking = stages.filter(isLookup).flatMap((stage) => {
    const way = `lookup ${wayOf(stage)}`;
    if (urlOf(stage) !== urlOf(source!)) return [way];
    return [
      way,
      `lookup asks the database that ${source!.name} reads; a join in \`query\` would spare the asking and the way through JavaScript`,
    ];
  });
  return [...new Set([...joined, ...asking])];
}

const isLookup = ({ definition }: ConfiguredStage): boolean => definition === lookup;

function wayOf({ config }: ConfiguredStage): string {
  const { cache } = config as { readonly cache: number };
  return `reads its query once, whole, where the rows fit ${formatBytes(cache)} (\`cache\`); otherwise each batch asks for the keys it needs`;
}

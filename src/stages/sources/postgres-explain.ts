/** What a server means to do for a query, as it says itself. */
import type { Session } from "./postgres-session.ts";

/** A node of `explain (format json)`; some of it is told in a verbose one alone. */
export interface PlanNode {
  readonly "Node Type": string;
  readonly "Parent Relationship"?: string;
  readonly "Join Type"?: string;
  readonly "Inner Unique"?: boolean;
  readonly Alias?: string;
  readonly "CTE Name"?: string;
  readonly "Plan Rows"?: number;
  readonly "Plan Width"?: number;
  readonly "Total Cost": number;
  readonly Plans?: readonly PlanNode[];
}

export const childOf = ({ Plans = [] }: PlanNode, relationship: string): PlanNode | undefined =>
  Plans.find((child) => child["Parent Relationship"] === relationship);

/** A node and all below it. */
export const allOf = (node: PlanNode): readonly PlanNode[] => [
  node,
  ...(node.Plans ?? []).flatMap(allOf),
];

/** A verbose one writes out constants, which may be as long as they like. */
export async function explain(
  session: Session,
  sql: string,
  values: readonly (string | null)[] = [],
  detail: "verbose" | "costs" = "costs",
): Promise<PlanNode> {
  const { rows } = await session.ask(`explain (${detail}, format json) ${sql}`, values);
  return (JSON.parse(rows[0]![0]!) as [{ Plan: PlanNode }])[0].Plan;
}

/** Whatever is asked and set in it leaves no trace in the transaction. */
export async function withoutTrace<Found>(
  session: Session,
  ask: () => Promise<Found>,
): Promise<Found> {
  await session.ask("savepoint before");
  try {
    return await ask();
  } finally {
    await session.ask("rollback to savepoint before");
  }
}

const soonMillis = 2000;

/** The same, for progress and for what is only done where it is quick: none where the server refuses or is slow. */
export const explainSoon = (
  session: Session,
  sql: string,
  values: readonly (string | null)[],
): Promise<PlanNode | undefined> =>
  withoutTrace(session, async () => {
    try {
      await session.ask(`set local statement_timeout = ${soonMillis}`);
      return await explain(session, sql, values);
    } catch {
      // A dead connection says so again in the next statement.
      return undefined;
    }
  });

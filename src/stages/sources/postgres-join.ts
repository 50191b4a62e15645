/**
 * Lookups as part of the query: the same rows as in JavaScript, from one snapshot, and nothing to make of them here.
 *
 * - The query stays whole behind `offset 0`, as for `filter`. A lookup stands beside it as LATERAL with a `limit`: such a
 *   join is neither turned around nor taken apart, nor done by several at a time. The server takes the query's rows
 *   one after the other and asks the lookup for each. So the query is planned as if alone, and its order stays.
 * - The `limit` is 1, where the server has proved that there is never more than one (`postgres-join-proof.ts`); a key
 *   that two rows have must be refused, and only JavaScript does.
 * - In a lateral part, what is no column of its own may mean one of the rows': so these have names that nobody else has.
 * - Types of keys are those of which values are equal where texts are, in the collation of the lookup's column, which
 *   its index has, and must be deterministic.
 * - What is no row's counterpart is not computed, as where a lookup asks batch by batch.
 *
 * Whatever speaks against it, a wrong query too, ends in `Unjoined`: then JavaScript looks up, and refuses as it does.
 */
import { PipelineError } from "../../errors.ts";
import type { RowBatch } from "../nouns.ts";
import { inMemberOrder, refuseDoubles } from "../transforms/documents.ts";
import { type ComparedKey, compareKeys, proveUnique, Unjoined } from "./postgres-join-proof.ts";
import {
  type BoundQuery,
  pushSteps,
  type QueryColumn,
  quoteName,
  readColumns,
  type RowStep,
} from "./postgres-pushdown.ts";
import type { Session } from "./postgres-session.ts";
import { dropSemicolons } from "./postgres-types.ts";

/** A lookup in the source's database. Its query has no parameters. */
export interface JoinedLookup {
  readonly query: string;
  /** Column of the row → column of the query. */
  readonly on: Readonly<Record<string, string>>;
  readonly missing: "keep" | "drop";
}

/** What stages do, where the query can do it too. */
export type PushedStep = RowStep | { readonly lookup: JoinedLookup };

/**
 * Puts `steps`, in their order, into `query`.
 * @throws Unjoined where one is a lookup, and the server does not prove that the rows would be the same
 * @throws PipelineError as `pushSteps`
 */
export async function pushAll(
  session: Session,
  query: BoundQuery,
  steps: readonly PushedStep[],
): Promise<BoundQuery> {
  const first = steps.findIndex((step) => "lookup" in step);
  if (first === -1) return pushSteps(session, query, steps as readonly RowStep[]);
  try {
    let asked = query;
    let before: RowStep[] = [];
    let shape: RowBatch["shape"] = "tuples";
    for (const [at, step] of steps.entries()) {
      if ("lookup" in step) {
        asked = await pushSteps(session, asked, before);
        asked = await pushLookup(session, asked, step.lookup, shape);
        before = [];
      } else {
        before.push(step);
        // Before the first lookup the query does it either way; behind it, JavaScript makes objects.
        if (at > first) shape = "documents";
      }
    }
    asked = await pushSteps(session, asked, before);
    // Each of them may be a query, and all together too much for one: a query has a most of columns.
    await session.describe(asked.sql);
    return asked;
  } catch (error) {
    throw isRefusal(error) ? new Unjoined(error.message) : error;
  }
}

const isRefusal = (error: unknown): error is PipelineError =>
  error instanceof PipelineError && ["source-refused", "transform-failed"].includes(error.code);

async function pushLookup(
  session: Session,
  query: BoundQuery,
  { query: looked, on, missing }: JoinedLookup,
  shape: RowBatch["shape"],
): Promise<BoundQuery> {
  const rows = await readColumns(session, query.sql);
  const found = await readColumns(session, looked);
  refuseDoubles(found);
  const keys = Object.entries(on).map(([own, its]) => ({
    own: columnOf(rows, own),
    its: columnOf(found, its),
  }));
  const added = found.filter((column) => !keys.some(({ its }) => its === column));
  refuseDoubles([...rows, ...added]);
  const asked = dropSemicolons(looked).trimEnd();
  const compared = await compareKeys(session, keys);
  await proveUnique(session, asked, found, compared);
  const outputs = [
    ...rows.map((column) => ({ name: column.name, value: `q.${rowName(column)}` })),
    ...added.map(({ index, name }) => ({ name, value: `f.c${index}` })),
  ];
  const ordered = shape === "documents" ? inMemberOrder(outputs) : outputs;
  const sql = `select ${ordered.map(({ name, value }) => `${value} as ${quoteName(name)}`).join(", ")}
from (select * from (
${dropSemicolons(query.sql).trimEnd()}
) as q offset 0) as q(${rows.map(rowName).join(", ")})
${missing === "keep" ? "left join" : "join"} lateral (
select ${added.map(({ index }) => `l.c${index}`).join(", ")} from (
${asked}
) as l(${found.map(({ index }) => `c${index}`).join(", ")})
where ${compared.map(compare).join(" and ")} limit 1) as f on true`;
  return { sql, values: query.values };
}

/** A name that the lookup's query does not have of its own. */
const rowName = ({ index }: Pick<QueryColumn, "index">): string => `"${index} of the row"`;

const compare = ({ own, its, collate }: ComparedKey): string =>
  `l.c${its.index} operator(pg_catalog.=) q.${rowName(own)}${collate}`;

function columnOf(columns: readonly QueryColumn[], name: string): QueryColumn {
  const named = columns.filter((column) => column.name === name);
  if (named.length === 1) return named[0]!;
  throw new Unjoined(`there is no one column ${JSON.stringify(name)}`);
}

/**
 * `select` and `filter` as part of the query: the same rows, and fewer bytes to send.
 *
 * Why the rows are equal, for any query that fixes its rows and their order, and columns of any type. (Without ORDER BY, or
 * with LIMIT and no order, a server owes nobody the same rows twice; with fewer columns asked for it may plan otherwise.)
 * - A filter compares texts: those the server would have sent. `format('%s', …)` prints a value with its type's own
 *   output function, in this very session; arrays, composites and the like are `to_json` first, as everywhere. Where
 *   another comparison means the same (`comparisons`), it is taken. What is wanted is bound, never written into SQL.
 * - The query stays whole, in a subquery. `offset 0` keeps the planner from moving conditions into it, so that it makes
 *   every row, or fails, as if nobody filtered; no join, sort or grouping lies above it, so that its order stays. Its
 *   columns get aliases by position, so that no name needs care.
 * - A column that is left out is still computed where that could fail: `num_nulls` looks at it, and is never
 *   negative. Columns stored in tables are left where they are. What is not sent is not converted for us either.
 *
 * A missing column is met here before the first row, if there is one or not; row functions meet it at their first row.
 */
import { inMemberOrder, refuseDoubles } from "../transforms/documents.ts";
import { type Condition, nothingToFilter } from "../transforms/filter.ts";
import { nothingToSelect } from "../transforms/select.ts";
import type { Field, Session } from "./postgres-session.ts";
import { arrayText, describeQuery, dropSemicolons, isServerText } from "./postgres-types.ts";

/** A function takes so many: FUNC_MAX_ARGS. */
const mostArguments = 100;

/** What a row stage does, where a query can do it too. */
export type RowStep = { readonly columns: readonly string[] } | Condition;

/** A statement and the values of its parameters. */
export interface BoundQuery {
  readonly sql: string;
  readonly values: readonly (string | null)[];
}

/** A column of the query, by its place there. */
export interface QueryColumn extends Field {
  readonly index: number;
  readonly json: string;
}

/**
 * Puts `steps`, in their order, into `query`. Its parameters must be those it mentions (`mentionsParams`).
 * @param carried how many of the last columns stay whatever is selected
 * @throws PipelineError `transform-failed` when a column is missing or two share a name, as row functions do
 */
export async function pushSteps(
  session: Session,
  query: BoundQuery,
  steps: readonly RowStep[],
  carried = 0,
): Promise<BoundQuery> {
  if (steps.length === 0) return query;
  const columns = await readColumns(session, query.sql);
  refuseDoubles(columns);
  const isUtf8 = (await session.ask("show server_encoding")).rows[0]?.[0] === "UTF8";
  const conditions: string[] = [];
  const values = [...query.values];
  const seen = new Set<QueryColumn>();
  const own = columns.slice(0, columns.length - carried);
  let kept = inMemberOrder(own);
  const find = (name: string) => kept.find((column) => column.name === name);
  for (const step of steps) {
    if ("columns" in step) {
      kept = inMemberOrder(step.columns.map((name) => find(name) ?? refuse(nothingToSelect(name))));
      continue;
    }
    const column = find(step.column) ?? refuse(nothingToFilter(step.column));
    seen.add(column);
    conditions.push(writeCondition(column, step, values, isUtf8));
  }
  kept = [...kept, ...columns.slice(own.length)];
  for (const column of kept) seen.add(column);
  const left = await computed(
    session,
    columns.filter((column) => !seen.has(column)),
  );
  for (let at = 0; at < left.length; at += mostArguments) {
    const some = left.slice(at, at + mostArguments).map(nameOf);
    conditions.push(`pg_catalog.num_nulls(${some.join(", ")}) >= 0`);
  }
  const sql = wrapQuery(query.sql, {
    alias: `q(${columns.map(({ index }) => `c${index}`).join(", ")})`,
    outputs: kept.map((column) => `${nameOf(column)} as ${quoteName(column.name)}`),
    conditions,
  });
  return { sql, values };
}

/** A query around `query`, for these outputs of its columns, in rows that meet the conditions. */
export function wrapQuery(
  query: string,
  parts: {
    readonly alias: string;
    readonly outputs: readonly string[];
    readonly conditions: readonly string[];
  },
): string {
  const { alias, conditions } = parts;
  // Line breaks, as a query may begin or end with a comment.
  const inner = `\n${dropSemicolons(query).trimEnd()}\n`;
  const head = `select ${parts.outputs.join(", ")}\nfrom (`;
  if (conditions.length === 0) return `${head}${inner}) as ${alias}`;
  return `${head}select * from (${inner}) as q offset 0) as ${alias}\nwhere ${conditions.join("\n  and ")}`;
}

export const quoteName = (name: string): string => `"${name.replaceAll('"', '""')}"`;

/**
 * Whether `query` mentions `$1` to `$count` and none beyond, so that the next number is free. A mention in a text or a
 * comment counts too: then a query may be refused that would do, or be one that the server refuses either way.
 */
export function mentionsParams(query: string, count: number): boolean {
  const mentioned = new Set([...query.matchAll(/\$(\d+)/g)].map(([, digits]) => Number(digits)));
  return mentioned.size === count && [...mentioned].every((n) => n >= 1 && n <= count);
}

function refuse(error: Error): never {
  throw error;
}

const nameOf = ({ index }: QueryColumn): string => `q.c${index}`;

export async function readColumns(session: Session, sql: string): Promise<readonly QueryColumn[]> {
  const { columns } = await describeQuery(session, sql, "json");
  const fields = (await session.describe(sql)) ?? [];
  return columns.map(({ json }, index) => {
    const { name, dataTypeID, tableID, columnID } = fields[index]!;
    return { index, json, name, dataTypeID, tableID, columnID };
  });
}

/** A type whose values are compared as such, and which texts they can have: no other text is equal to any. */
interface Comparison {
  readonly type: string;
  has(text: string): boolean;
}

const whole: Comparison = {
  type: "int8",
  has: (text) => /^(0|-?[1-9]\d{0,18})$/.test(text) && isInt8(BigInt(text)),
};
const comparisons: Readonly<Record<number, Comparison>> = {
  16: { type: "bool", has: (text) => /^(true|false)$/.test(text) },
  20: whole,
  21: whole,
  23: whole,
  2950: { type: "uuid", has: (text) => /^[\da-f]{8}(-[\da-f]{4}){3}-[\da-f]{12}$/.test(text) },
};
const isInt8 = (value: bigint): boolean => BigInt.asIntN(64, value) === value;
/** `text` and `varchar` are their own texts. */
const textual = new Set([25, 1043]);

/** The condition in SQL; what it wants is added to `values`, as one array. */
function writeCondition(
  column: QueryColumn,
  { wanted, negated }: Condition,
  values: (string | null)[],
  isUtf8: boolean,
): string {
  const value = column.json === "json" ? `pg_catalog.to_json(${nameOf(column)})` : nameOf(column);
  const parts = wanted.includes(null) ? [`${value} is null`] : [];
  const operands = wanted.filter((text) => text !== null);
  if (operands.length > 0 || parts.length === 0) {
    const { left, type, array } = compare(column, value, operands, isUtf8);
    values.push(array);
    parts.push(`${left} operator(pg_catalog.=) any ($${values.length}::pg_catalog.${type}[])`);
  }
  const matches = parts.join(" or ");
  return negated ? `(${matches}) is not true` : `(${matches})`;
}

function compare(column: QueryColumn, value: string, operands: readonly string[], isUtf8: boolean) {
  const exact = comparisons[column.dataTypeID];
  if (exact) {
    const array = arrayText(operands.filter((text) => exact.has(text)));
    return { left: value, type: exact.type, array };
  }
  // Of NULL `format` makes an empty text.
  const text = textual.has(column.dataTypeID)
    ? value
    : `case when ${value} is not null then pg_catalog.format('%s', ${value}) end`;
  const possible = operands.filter(isServerText);
  if (isUtf8) {
    const left = `(${text}) collate pg_catalog."C"`;
    return { left, type: "text", array: arrayText(possible) };
  }
  // An operand may have no form in the server's encoding, so both sides are bytes of UTF-8.
  const bytes = possible.map((operand) => `\\x${Buffer.from(operand).toString("hex")}`);
  return { left: `pg_catalog.convert_to(${text}, 'UTF8')`, type: "bytea", array: arrayText(bytes) };
}

/** Columns of relations that hold what they give: views compute theirs, as foreign and generated ones may. */
const storedColumns = `
select a.attrelid::text, a.attnum::text
from unnest($1::oid[], $2::int2[]) as wanted(relation, attribute)
join pg_catalog.pg_attribute a on a.attrelid = relation and a.attnum = attribute
join pg_catalog.pg_class c on c.oid = relation
where c.relkind in ('r', 'p', 'm') and a.attgenerated <> 'v'`;

/** Those of `columns` that the query computes. */
async function computed(
  session: Session,
  columns: readonly QueryColumn[],
): Promise<readonly QueryColumn[]> {
  if (columns.length === 0) return [];
  const list = (ids: readonly number[]) => `{${ids.join(",")}}`;
  const { rows } = await session.ask(storedColumns, [
    list(columns.map(({ tableID }) => tableID)),
    list(columns.map(({ columnID }) => columnID)),
  ]);
  const stored = new Set(rows.map(String));
  return columns.filter(({ tableID, columnID }) => !stored.has(`${tableID},${columnID}`));
}

/** What the server itself must show before a lookup becomes part of a query: that its rows are told apart, and found soon. */
import { allOf, childOf, explain, type PlanNode, withoutTrace } from "./postgres-explain.ts";
import type { QueryColumn } from "./postgres-pushdown.ts";
import type { Session } from "./postgres-session.ts";

/** Says why a lookup is none of the query's. Never leaves: where a lookup may be pushed there is another way. */
export class Unjoined extends Error {}

/** A column of the rows and one of the lookup's query, which are to be equal. */
export interface JoinKey {
  readonly own: QueryColumn;
  readonly its: QueryColumn;
}

/** A key with how it is compared: as a type, and in a collation that is said behind the rows' value. */
export interface ComparedKey extends JoinKey {
  readonly type: string;
  readonly collate: string;
}

/** By type OID: values that are equal exactly where their texts are, and what they are compared as. */
const comparedAs: Readonly<Record<number, string>> = {
  16: "bool",
  20: "int8",
  21: "int8",
  23: "int8",
  25: "text",
  26: "oid",
  1043: "text",
  1082: "date",
  2950: "uuid",
};

/** @throws Unjoined where the server would compare otherwise than texts are */
export async function compareKeys(
  session: Session,
  keys: readonly JoinKey[],
): Promise<readonly ComparedKey[]> {
  const compared: ComparedKey[] = [];
  for (const key of keys) {
    const type = comparedAs[key.its.dataTypeID];
    if (type === undefined || type !== comparedAs[key.own.dataTypeID])
      throw new Unjoined(
        `${named(key)} has a type, or two, whose values may be equal where texts are not`,
      );
    const collate = type === "text" ? await collationOf(session, key) : "";
    compared.push({ ...key, type, collate });
  }
  return compared;
}

const named = ({ own }: JoinKey): string => `the key ${JSON.stringify(own.name)}`;

/** Of a stored column, whether of a table or a view, and the server's way to its bytes. */
const collation = `
select pg_catalog.quote_ident(n.nspname) || '.' || pg_catalog.quote_ident(c.collname)
from pg_catalog.pg_attribute a
join pg_catalog.pg_collation c on c.oid = a.attcollation
join pg_catalog.pg_namespace n on n.oid = c.collnamespace
where a.attrelid = $1 and a.attnum = $2 and c.collisdeterministic
  and pg_catalog.current_setting('server_encoding') = 'UTF8'`;

/** Said explicitly, it holds whatever the rows' own is; equal are then the same bytes, in UTF-8 the same texts. */
async function collationOf(session: Session, key: JoinKey): Promise<string> {
  const { tableID, columnID } = key.its;
  const { rows } = await session.ask(collation, [String(tableID), String(columnID)]);
  if (rows[0]) return ` collate ${rows[0][0]}`;
  throw new Unjoined(
    `${named(key)} is computed by its query, or is not compared letter for letter there`,
  );
}

const someKeys = "keys of the rows";
const lookedUp = "what is looked up";

/**
 * Lets the server prove that `query` has at most one row for each key: it joins it to some keys, begins with these, and
 * knows of each table it goes on to that there is at most one row (`Inner Unique`). What stands in a `with` it makes part
 * of the whole only where all rows come out the same whenever they are made: no volatile function is called.
 * @throws Unjoined where it does not
 */
export async function proveUnique(
  session: Session,
  query: string,
  columns: readonly QueryColumn[],
  keys: readonly ComparedKey[],
): Promise<void> {
  const lists = keys.map(({ type }) => `pg_catalog.unnest('{}'::pg_catalog.${type}[])`);
  const names = keys.map((_, at) => `k${at}`);
  const equal = keys.map(
    ({ its, collate }, at) =>
      `l.c${its.index} operator(pg_catalog.=) "${someKeys}".k${at}${collate}`,
  );
  const joined = `with "${lookedUp}"(${columns.map(({ index }) => `c${index}`).join(", ")}) as (\n${query}\n)
select from rows from (${lists.join(", ")}) as "${someKeys}"(${names.join(", ")})
join "${lookedUp}" as l on ${equal.join(" and ")}`;
  await withoutTrace(session, async () => {
    // Of small tables it would make a table of the keys instead, and prove nothing.
    await session.ask("set local enable_hashjoin = off");
    await session.ask("set local enable_mergejoin = off");
    const plan = await explain(session, joined, [], "verbose");
    if (allOf(plan).some((node) => node["CTE Name"] === lookedUp))
      throw new Unjoined(
        "its query calls a volatile function, which may answer otherwise each time it is asked",
      );
    if (!isAtMostOne(plan))
      throw new Unjoined(
        "the server does not prove that no two rows of its query have the same key",
      );
    await refuseYounger(session);
  });
}

/** For each of the keys, where they come first and every join gives one row at most for each of those before. */
function isAtMostOne(plan: PlanNode): boolean {
  let node: PlanNode | undefined = plan;
  while (node?.["Node Type"] === "Nested Loop") {
    const gives = node["Join Type"] ?? "";
    const isOne = ["Semi", "Anti"].includes(gives) || node["Inner Unique"] === true;
    if (!isOne || !["Inner", "Left", "Semi", "Anti"].includes(gives)) return false;
    node = childOf(node, "Outer");
  }
  return node?.["Node Type"] === "Function Scan" && node.Alias === someKeys;
}

/**
 * A planner trusts an index as it is now, of which an older snapshot may still see two rows with one key: one that is new, or
 * one that is whole since then, for which a primary waits and a standby does not. It has locked all that it looked at; a
 * catalogue is read as the snapshot sees it.
 */
const younger = `
select (exists (
  select from pg_catalog.pg_locks l
  where l.locktype = 'relation' and l.pid = pg_catalog.pg_backend_pid()
    and (not exists (select from pg_catalog.pg_class c where c.oid = l.relation)
         or exists (select from pg_catalog.pg_index i
                    where i.indexrelid = l.relation and i.indisunique and not i.indisvalid))))::text`;

async function refuseYounger(session: Session): Promise<void> {
  const { rows } = await session.ask(younger);
  if (rows[0]?.[0] !== "false")
    throw new Unjoined("a table of its query has an index that is younger than the snapshot");
}

/**
 * What finding a row may cost, in the planner's units: one is a page of a table read in order. By its defaults an index
 * finds a row for 8, one of 40 rows is found for less without any.
 */
const mostCost = 50;

/**
 * Looks at the plan of a query with `lookups` lookups: the rows of the query must pass one after the other, and an index
 * must find what belongs to each, or the server must remember what it found.
 * @throws Unjoined where it would be slow, or nobody can tell in time
 */
export function refuseSlow(plan: PlanNode | undefined, lookups: number): void {
  let node = plan;
  for (let at = 0; at < lookups; at += 1) {
    while (node?.["Node Type"] === "Subquery Scan") node = node.Plans![0];
    if (node?.["Node Type"] !== "Nested Loop")
      throw new Unjoined("the server would not join it row by row, in their order");
    refuseSearch(childOf(node, "Inner")!);
    node = childOf(node, "Outer");
  }
}

/** Where rows come from at a cost that the planner knows; of functions, foreign tables and the like it guesses. */
const knownCost = ["Index Scan", "Index Only Scan", "Bitmap Index Scan", "Values Scan", "Result"];

function refuseSearch(found: PlanNode): void {
  const isRemembered = found["Node Type"] === "Memoize";
  const nodes = allOf(isRemembered ? found.Plans![0]! : found);
  // Of each node, since a limit costs by how soon a row is guessed to be met, and there may be none.
  const isDear = nodes.some((node) => node["Total Cost"] > mostCost);
  const allowed = isRemembered ? [...knownCost, "Seq Scan"] : knownCost;
  const isGuessed = nodes.some((node) => !node.Plans && !allowed.includes(node["Node Type"]));
  if (isDear || isGuessed) throw new Unjoined("no index of the server finds its rows by their key");
}

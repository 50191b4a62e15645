/** What a bound belongs to: the columns of one table of one database, in their types and order, and a query of all its rows. */
import { explain } from "./postgres-explain.ts";
import type { KeyColumn } from "./postgres-key.ts";
import type { BoundQuery } from "./postgres-pushdown.ts";
import type { Field, Session } from "./postgres-session.ts";
import { dropSemicolons } from "./postgres-types.ts";

/** Standbys share the identifier with their primary; not everyone may be allowed to ask for it. */
const mayIdentify = `
select coalesce(pg_catalog.has_function_privilege(
         pg_catalog.to_regprocedure('pg_catalog.pg_control_system()')::oid, 'execute'), false)::text`;

const identify = "select system_identifier::text from pg_catalog.pg_control_system()";

const locate = `
select d.oid::text, a.attrelid::text, a.attnum::text, a.atttypid::text, a.atttypmod::text, a.attcollation::text
from pg_catalog.pg_database d, pg_catalog.pg_attribute a
where d.datname = pg_catalog.current_database() and a.attrelid = $1::oid and a.attnum = any ($2::int2[])
order by a.attnum`;

/** All of it as numbers of the server's catalogue: none of it is a value of a row. */
export async function readOrigin(
  session: Session,
  fields: readonly Field[],
  columns: readonly KeyColumn[],
): Promise<readonly unknown[]> {
  const origins = columns.map(({ index }) => fields[index]!);
  const attributes = `{${origins.map(({ columnID }) => columnID).join(",")}}`;
  const located = await session.ask(locate, [String(origins[0]!.tableID), attributes]);
  const allowed = (await session.ask(mayIdentify)).rows[0]?.[0] === "true";
  const system = allowed ? (await session.ask(identify)).rows[0]![0] : null;
  return [system, located.rows];
}

/** As planned, since a limit has many spellings; one further inside is a part of what the rows are. */
export async function hasLimit(session: Session, { sql, values }: BoundQuery): Promise<boolean> {
  const plan = await explain(session, dropSemicolons(sql), values);
  return plan["Node Type"] === "Limit";
}

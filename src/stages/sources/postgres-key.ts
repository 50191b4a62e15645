/**
 * The key of a query: columns of one table that are unique and never null there, in an order that the server can compare.
 *
 * Unique is meant as ORDER BY compares: an index in another collation, or of another class of operators, can hold two
 * values that are equal there. Bounds are compared by operators that are found by name along the `search_path`: where it lacks
 * the schema of `citext`, `>` is that of `text`, and rows would be passed over. A join can repeat a row or make a key null; that
 * only the rows themselves can show.
 */
import type { Session } from "./postgres-session.ts";

/** A column of the key, by its place in the query. */
export interface KeyColumn {
  readonly index: number;
  readonly oid: number;
  readonly descending: boolean;
}

/** `id`, or `id desc` for the order from the last to the first. */
const spelling = /^(.*?)(?: (asc|desc))?$/is;

const uniqueIn = `
select exists (
         select from pg_catalog.pg_index i
         where i.indrelid = $1::oid and i.indisunique and i.indisvalid and i.indpred is null and i.indexprs is null
           and (select bool_and(k.attribute = any ($2::int2[]) and o.opcdefault
                                and (k.orderedby = a.attcollation or c.collisdeterministic is not false))
                from rows from (
                       unnest((i.indkey::int2[])[0:i.indnkeyatts - 1]),
                       unnest((i.indclass::oid[])[0:i.indnkeyatts - 1]),
                       unnest((i.indcollation::oid[])[0:i.indnkeyatts - 1])
                     ) as k(attribute, opclass, orderedby)
                join pg_catalog.pg_opclass o on o.oid = k.opclass
                join pg_catalog.pg_attribute a on a.attrelid = i.indrelid and a.attnum = k.attribute
                left join pg_catalog.pg_collation c on c.oid = a.attcollation))::text,
       (not exists (
         select from pg_catalog.pg_attribute a
         where a.attrelid = $1::oid and a.attnum = any ($2::int2[]) and not a.attnotnull))::text,
       (not exists (
         select from pg_catalog.pg_inherits h join pg_catalog.pg_class r on r.oid = h.inhparent
         where h.inhparent = $1::oid and r.relkind = 'r'))::text,
       (not exists (
         select from pg_catalog.pg_opclass o
         join pg_catalog.pg_amop p
           on p.amopfamily = o.opcfamily and p.amoplefttype = o.opcintype and p.amoprighttype = o.opcintype
         join pg_catalog.pg_am m on m.oid = o.opcmethod
         where o.opcintype = any ($3::oid[]) and o.opcdefault
           and case when m.amname = 'btree' -- Before all else: strategies of other indexes have no such names.
                 then pg_catalog.to_regoperator(pg_catalog.format('%1$s(%2$s,%2$s)',
                        ('{<,<=,=,>=,>}'::text[])[p.amopstrategy], o.opcintype::regtype)) is distinct from p.amopopr
               end))::text`;

/** Finds the key's columns in the query, and what speaks against them. */
export async function examineKey(
  session: Session,
  query: string,
  key: readonly string[],
): Promise<{ readonly columns: readonly KeyColumn[]; readonly flaw?: string }> {
  const fields = (await session.describe(query)) ?? [];
  const columns = key.flatMap((written) => {
    const [, name, direction] = spelling.exec(written)!;
    const index = fields.findIndex((field) => field.name === name);
    const isOne = fields.filter((field) => field.name === name).length === 1;
    const descending = direction?.toLowerCase() === "desc";
    return isOne ? [{ index, oid: fields[index]!.dataTypeID, descending }] : [];
  });
  const flawed = (flaw: string) => ({ columns, flaw });
  if (columns.length < key.length)
    return flawed("names a column that the query does not give once");
  const origins = columns.map(({ index }) => fields[index]!);
  const tables = new Set(origins.map(({ tableID }) => tableID));
  if (tables.size !== 1 || tables.has(0))
    return flawed("is computed, or of several tables, not of columns of one");
  const attributes = `{${origins.map(({ columnID }) => columnID).join(",")}}`;
  const types = `{${columns.map(({ oid }) => oid).join(",")}}`;
  const { rows } = await session.ask(uniqueIn, [String([...tables][0]), attributes, types]);
  const [unique, notNull, alone, comparable] = rows[0] ?? [];
  if (unique !== "true") return flawed("has no unique index in its table");
  if (notNull !== "true") return flawed("may be null");
  if (alone !== "true")
    return flawed("is of a table that others inherit from, whose rows it does not tell apart");
  if (comparable !== "true")
    return flawed(
      "is of a type whose order is not that of `<` and `>` as the `search_path` finds them",
    );
  return { columns };
}

/** A table of PostgreSQL that takes rows, as the server knows it, and whether what is promised of rows can be kept there. */
import type { Session } from "../sources/postgres-session.ts";
import type { TableOptions } from "./destination.ts";
import { unfitTable, type AnyColumn, type AnyTable } from "./table.ts";

export interface TableColumn extends AnyColumn {
  /** As records are read; with its collation, where that takes different texts for equal. */
  readonly type: string;
  /** The server always numbers it (GENERATED ALWAYS AS IDENTITY), unless an insert insists; it is never updated. */
  readonly isNumbered: boolean;
}

export interface Table extends AnyTable<TableColumn> {
  /** Which table it is, whatever its name; another one after it is dropped and made again. */
  readonly oid: string;
  /** With its schema, quoted. */
  readonly name: string;
  readonly schema: string;
}

/** Ordinary and partitioned ones, all of whose parts outlive a crash of the server as their notes do. */
const facts = `
select c.oid, format('%I.%I', n.nspname, c.relname), quote_ident(n.nspname),
       c.relkind in ('r', 'p') and not exists (
         select from pg_catalog.pg_partition_tree(c.oid) t join pg_catalog.pg_class p on p.oid = t.relid
         where p.relpersistence <> 'p' or p.relkind not in ('r', 'p')) and c.relpersistence = 'p',
       json_agg(json_build_object('name', a.attname, 'type', pg_catalog.format_type(a.atttypid, a.atttypmod)
         || coalesce((select format(' collate %I.%I', s.nspname, l.collname)
                      from pg_catalog.pg_collation l join pg_catalog.pg_namespace s on s.oid = l.collnamespace
                      where l.oid = a.attcollation and not l.collisdeterministic), ''),
         'isGenerated', a.attgenerated <> '', 'isNumbered', a.attidentity = 'a',
         'isText', (select y.typcategory = 'S' from pg_catalog.pg_type y where y.oid = a.atttypid)) order by a.attnum)
from pg_catalog.pg_class c join pg_catalog.pg_namespace n on n.oid = c.relnamespace
join pg_catalog.pg_attribute a on a.attrelid = c.oid
where c.oid = to_regclass($1) and a.attnum > 0 and not a.attisdropped
group by c.oid, n.nspname, c.relname, c.relkind, c.relpersistence`;

/** Only whole indexes that are checked at once tell all rows apart when rows are written. */
const uniqueOnKey = `
select 1 from pg_catalog.pg_index i
where i.indrelid = $1::regclass and i.indisunique and i.indisvalid and i.indimmediate and not i.indisexclusion
  and i.indpred is null and i.indexprs is null
  and (select array_agg(a.attname::text order by a.attname::text)
       from unnest(i.indkey[0:i.indnkeyatts - 1]) k
       join pg_catalog.pg_attribute a on a.attrelid = i.indrelid and a.attnum = k)
    = (select array_agg(k order by k) from json_array_elements_text($2::json) k)`;

/**
 * Looks the table up.
 * @throws PipelineError `destination-refused` when it is not there, is no lasting table, or no unique index covers the key
 */
export async function describeTable(session: Session, wanted: TableOptions): Promise<Table> {
  const shown = JSON.stringify(wanted.table);
  const { rows } = await session.ask(facts, [wanted.table]);
  const [oid, name, schema, lasts, columns] = rows[0] ?? [];
  if (!oid || !name || !schema || !columns) throw unfitTable(`there is no table ${shown}`);
  if (lasts !== "t") {
    throw unfitTable(
      `${shown} is unlogged, temporary, foreign or a view, at least in part; expected a table whose rows outlive a crash of the server`,
    );
  }
  const { key } = wanted;
  if (key.length > 0) {
    if (!(await hasUniqueIndex(session, oid, key))) {
      throw unfitTable(
        `${shown} has no unique index on exactly ${key.map((one) => JSON.stringify(one)).join(", ")} (\`key\`) that is checked at once`,
      );
    }
  }
  return { oid, name, schema, columns: JSON.parse(columns) as TableColumn[], key };
}

/** @param table by its name, as SQL has it, or by its oid */
export async function hasUniqueIndex(
  session: Session,
  table: string,
  key: readonly string[],
): Promise<boolean> {
  const { rows } = await session.ask(uniqueOnKey, [table, JSON.stringify(key)]);
  return rows.length > 0;
}

/** The table as it is now and stays until the transaction ends: whoever alters or replaces it waits, as for an insert. */
export async function holdTable(session: Session, { name, key }: Table): Promise<Table> {
  // An insert that is only explained takes its lock too, and `lock table` asks for rights on all columns.
  await session.ask(`explain insert into ${name} default values`);
  return describeTable(session, { table: name, key });
}

/** The rights that writing takes and this user has not, not even on some columns: records may name these alone. */
export async function findMissingRights(session: Session, table: Table): Promise<string[]> {
  // Replacing a row reads it.
  const wanted = table.key.length > 0 ? ["insert", "update", "select"] : ["insert", "select"];
  const asked = wanted.map((right) => `has_any_column_privilege($1::oid, '${right}')`);
  const { rows } = await session.ask(`select ${asked.join(", ")}`, [table.oid]);
  return wanted.filter((_, at) => rows[0]?.[at] !== "t");
}

/**
 * One page of NDJSON as rows of a table, in one statement: the server reads the records itself, by the table's own types.
 * Source: `json_populate_record`, https://www.postgresql.org/docs/current/functions-json.html
 */
import { PipelineError } from "../../errors.ts";
import type { Session } from "../sources/postgres-session.ts";

export interface TableOptions {
  /** As SQL would name it, best with its schema. */
  readonly table: string;
  /** Columns of a unique index: rows with the same key replace each other. Without it rows are appended. */
  readonly key: readonly string[];
}

/** A table as the server knows it. */
export interface Table {
  /** Its name, quoted where it must be. */
  readonly name: string;
  readonly schema: string;
  readonly columns: readonly string[];
  readonly key: readonly string[];
}

const quote = (name: string): string => `"${name.replaceAll('"', '""')}"`;

/**
 * Looks the table up.
 * @throws PipelineError `destination-refused` when it is not there or no unique index covers the key
 */
export async function describeTable(session: Session, wanted: TableOptions): Promise<Table> {
  const found = await session.ask(
    "select c.oid::regclass::text, quote_ident(n.nspname), a.attname from pg_catalog.pg_class c " +
      "join pg_catalog.pg_namespace n on n.oid = c.relnamespace " +
      "join pg_catalog.pg_attribute a on a.attrelid = c.oid " +
      "where c.oid = to_regclass($1) and a.attnum > 0 and not a.attisdropped and a.attgenerated = ''",
    [wanted.table],
  );
  const [name, schema] = found.rows[0] ?? [];
  if (!name || !schema) throw refused(`there is no table ${JSON.stringify(wanted.table)}`);
  const columns = found.rows.map(([, , column]) => column!);
  if (wanted.key.length > 0 && !(await isUnique(session, wanted))) {
    throw refused(
      `${JSON.stringify(wanted.table)} has no unique index on exactly ${wanted.key.map((one) => JSON.stringify(one)).join(", ")} (\`key\`)`,
    );
  }
  return { name, schema, columns, key: wanted.key };
}

/** Only whole indexes tell all rows apart. */
async function isUnique(session: Session, { table, key }: TableOptions): Promise<boolean> {
  const { rows } = await session.ask(
    "select 1 from pg_catalog.pg_index i where i.indrelid = to_regclass($1) and i.indisunique " +
      "and i.indpred is null and i.indexprs is null and (select array_agg(a.attname::text order by a.attname::text) " +
      "from unnest(i.indkey[0:i.indnkeyatts - 1]) k join pg_catalog.pg_attribute a on a.attrelid = i.indrelid and a.attnum = k) " +
      "= (select array_agg(k order by k) from json_array_elements_text($2::json) k)",
    [table, JSON.stringify(key)],
  );
  return rows.length > 0;
}

/**
 * Writes the records within the transaction that is open; of those with the same key the last one stays.
 * @throws PipelineError `destination-refused` when they do not fit the table, or it kept fewer than it was given
 */
export async function writeRows(session: Session, table: Table, records: string): Promise<void> {
  const columns = await fitColumns(session, table, records);
  if (columns.length === 0) return;
  const { rows } = await session.ask(writeStatement(table, columns), [records]);
  const [kept, given] = rows[0] ?? [];
  if (kept === given) return;
  throw refused(`the table kept ${kept} of ${given} rows; a trigger or a rule may turn some away`);
}

const lines = "unnest(string_to_array($1, e'\\n')) with ordinality as t(line, ord)";

/** The columns that the records name; all of them must be the table's, and every record must have its key. */
async function fitColumns(
  session: Session,
  { name, columns, key }: Table,
  records: string,
): Promise<readonly string[]> {
  const lacksKey = key.map((_, at) => `line::json ->> ($2::text[])[${at + 1}] is null`);
  const values = key.length > 0 ? [records, `{${key.map(quoteElement).join(",")}}`] : [records];
  const { rows } = await session.ask(
    `select array_to_json(array(select distinct k from ${lines}, json_object_keys(line::json) k where line <> '')), ` +
      `(select count(*) from ${lines} where line <> '' and (${lacksKey.join(" or ") || "false"}))`,
    values,
  );
  const named = JSON.parse(rows[0]?.[0] ?? "[]") as string[];
  const known = new Set(columns);
  const strange = named.filter((column) => !known.has(column));
  // Names may come from the data, so they are counted and not told.
  if (strange.length > 0)
    throw refused(
      `records have ${strange.length} columns that ${name} has not; expected some of ${columns.join(", ")}`,
    );
  if (rows[0]?.[1] !== "0")
    throw refused(`${rows[0]?.[1]} records have no value for their key (${key.join(", ")})`);
  return columns.filter((column) => named.includes(column));
}

const quoteElement = (text: string): string => `"${text.replaceAll(/["\\]/g, String.raw`\$&`)}"`;

function writeStatement({ name, key }: Table, columns: readonly string[]): string {
  const all = columns.map(quote).join(", ");
  const keys = key.map(quote).join(", ");
  const rest = columns.filter((column) => !key.includes(column));
  const changed = (rest.length > 0 ? rest : key).map((c) => `${quote(c)} = excluded.${quote(c)}`);
  const last = key.length > 0 ? `distinct on (${key.map((k) => `r.${quote(k)}`).join(", ")}) ` : "";
  const order = [...key.map((k) => `r.${quote(k)}`), "ord desc"].join(", ");
  return (
    `with given as materialized (select ${last}${columns.map((c) => `r.${quote(c)}`).join(", ")}, ord ` +
    `from ${lines}, json_populate_record(null::${name}, line::json) r where line <> '' order by ${order}), ` +
    `kept as (insert into ${name} (${all}) select ${all} from given order by ord ` +
    `${keys ? `on conflict (${keys}) do update set ${changed.join(", ")} ` : ""}returning 1) ` +
    "select (select count(*) from kept), (select count(*) from given)"
  );
}

const refused = (what: string): PipelineError =>
  new PipelineError("destination-refused", `${what}; nothing of this page was written`);

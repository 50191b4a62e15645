/**
 * One page of NDJSON as rows of a table, in one statement: the server reads the records itself, by the table's own types.
 * Source: `json_to_record`, https://www.postgresql.org/docs/current/functions-json.html
 */
import type { Session } from "../sources/postgres-session.ts";
import { arrayText } from "../sources/postgres-types.ts";
import type { Table, TableColumn } from "./postgres-table.ts";
import { namesAlike } from "./record-layout.ts";
import { differentColumns, fitColumns, quoteName, refusedPage } from "./table.ts";

/** As bytes: a text would be held twice on its way. */
const lines =
  "unnest(string_to_array(convert_from($1, 'UTF8'), e'\\n')) with ordinality as t(line, ord)";

/**
 * Writes the records within the transaction that is open; of those with the same key the last one stays.
 * @throws PipelineError `destination-refused` when they do not fit the table, or it kept fewer than it was given
 */
export async function writeRows(session: Session, table: Table, records: Uint8Array) {
  if (records.length === 0) return;
  const named = namesAlike(records, table.key) ?? (await askNames(session, table, records));
  const columns = fitColumns(named, table);
  const { rows } = await session.ask(writeStatement(table, columns), [records]);
  const [kept, given] = rows[0] ?? [];
  if (kept === given) return;
  throw refusedPage(
    `the table kept ${kept} of ${given} rows; a trigger or a rule may turn some away`,
  );
}

/**
 * What the records name, asked of the server, for which it reads them twice: all must name the same, each once, and have
 * their key. What a record leaves out would be NULL or a default by what else lies on its page.
 */
async function askNames(
  session: Session,
  { key }: Table,
  records: Uint8Array,
): Promise<readonly string[]> {
  const lacksKey = key
    .map((_, at) => `line::json ->> ($2::text[])[${at + 1}] is null`)
    .join(" or ");
  const { rows } = await session.ask(
    `select array_to_json(keys), sum(lacks) from (select array(select k from json_object_keys(line::json) k order by k) as keys, ` +
      `case when ${lacksKey || "false"} then 1 else 0 end as lacks from ${lines} where line <> '') r group by keys limit 2`,
    key.length > 0 ? [records, arrayText(key)] : [records],
  );
  const named = JSON.parse(rows[0]?.[0] ?? "[]") as string[];
  if (rows.length > 1 || named.length === 0) throw differentColumns();
  if (rows[0]?.[1] !== "0")
    throw refusedPage(`${rows[0]?.[1]} records have no value for their key (${key.join(", ")})`);
  return named;
}

function writeStatement({ name, key }: Table, columns: readonly TableColumn[]): string {
  const names = columns.map((column) => quoteName(column.name));
  const all = names.join(", ");
  const keys = key.map(quoteName);
  const record = columns.map(({ type }, at) => `${names[at]} ${type}`).join(", ");
  const last = keys.length > 0 ? `distinct on (${keys.map((one) => `r.${one}`).join(", ")}) ` : "";
  const order = [...keys.map((one) => `r.${one}`), "ord desc"].join(", ");
  const insists = columns.some(({ isNumbered }) => isNumbered) ? "overriding system value " : "";
  const changed = columns.filter((column) => !key.includes(column.name) && !column.isNumbered);
  const sets = changed.map(({ name: one }) => `${quoteName(one)} = excluded.${quoteName(one)}`);
  const resolve = sets.length > 0 ? `update set ${sets.join(", ")}` : "nothing";
  const conflict = keys.length > 0 ? `on conflict (${keys.join(", ")}) do ${resolve} ` : "";
  // Where nothing would change, a row that was there is left alone and counts as kept.
  const there =
    keys.length > 0 && sets.length === 0
      ? ` + (select count(*) from given join ${name} t using (${keys.join(", ")}))`
      : "";
  return (
    `with given as materialized (select ${last}${names.map((one) => `r.${one}`).join(", ")}, ord ` +
    `from ${lines}, json_to_record(line::json) as r(${record}) where line <> '' order by ${order}), ` +
    `kept as (insert into ${name} (${all}) ${insists}select ${all} from given order by ord ${conflict}returning 1) ` +
    `select (select count(*) from kept)${there}, (select count(*) from given)`
  );
}

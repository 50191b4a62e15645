/**
 * What a query's columns are and how they become JSON.
 *
 * NDJSON is the JSON of the server's own `row_to_json`. Scalars travel as their text and are written by us; arrays,
 * composites and types with a cast to json are converted by the server, `to_json(column)` for that column alone.
 * Source: PostgreSQL `src/backend/utils/adt/jsonfuncs.c`, function `json_categorize_type`.
 */
import type { Column, JsonForm } from "../nouns.ts";
import { PipelineError } from "../../errors.ts";
import type { Field, Session } from "./postgres-session.ts";
import { type SqlToken, tokenizeSql } from "./sql-tokens.ts";

export interface DescribedQuery {
  readonly columns: readonly Column[];
  /** The type the server sends each column as. */
  readonly oids: readonly number[];
  /** The query to run: as given, or wrapped where columns are converted by the server. */
  readonly sql: string;
}

interface TypeFacts {
  readonly name: string;
  readonly converted: boolean;
}

export const jsonOid = 114;

/** By type OID, fixed since PostgreSQL 9.4: src/include/catalog/pg_type.dat. Every other type is quoted text. */
const forms: Readonly<Record<number, JsonForm>> = {
  16: "boolean",
  20: "number",
  21: "number",
  23: "number",
  700: "number",
  701: "number",
  1700: "number",
  114: "json",
  3802: "json",
  1114: "timestamp",
  1184: "timestamptz",
};

/**
 * Names each type, and says which need the server: arrays (int2vector and oidvector are such too), rows, and types of
 * extensions and users that have a function which makes them json. All others are the text that their output function prints.
 */
const typeFacts = `
select t.oid::text,
       case when e.oid is null then t.typname else e.typname || '[]' end,
       (case when t.oid in (2249, 2277, 2287) or t.typtype = 'c' or e.oid is not null then true
             when t.oid < 16384 then t.typcategory = 'A'
             else exists (select from pg_catalog.pg_cast c
                          where c.castsource = t.oid and c.casttarget = 114 and c.castmethod = 'f')
        end)::text
from pg_catalog.pg_type t left join pg_catalog.pg_type e on e.typarray = t.oid
where t.oid = any ($1::oid[])`;

/**
 * Describes `query` and rewrites it where the server must convert columns to JSON, unless texts are wanted.
 * @throws PipelineError `source-refused` when it is no single statement that gives rows.
 */
export async function describeQuery(
  session: Session,
  query: string,
  composites: "json" | "text",
): Promise<DescribedQuery> {
  const fields = await session.describe(query);
  if (!fields) {
    throw new PipelineError("source-refused", "`query` gives no rows; expected a select");
  }
  const types = await readTypes(session, fields);
  const converted = fields.map(
    (field) => composites === "json" && (types.get(field.dataTypeID)?.converted ?? true),
  );
  const columns = fields.map((field, index): Column => {
    const type = types.get(field.dataTypeID)?.name ?? String(field.dataTypeID);
    const form = converted[index] ? "json" : (forms[field.dataTypeID] ?? "string");
    return { name: field.name, type, json: form };
  });
  const oids = fields.map(({ dataTypeID }, index) => (converted[index] ? jsonOid : dataTypeID));
  return {
    columns,
    oids,
    sql: converted.includes(true) ? convertColumns(query, converted) : query,
  };
}

async function readTypes(
  session: Session,
  fields: readonly Field[],
): Promise<Map<number, TypeFacts>> {
  const oids = [...new Set(fields.map((field) => field.dataTypeID))];
  const { rows } = await session.ask(typeFacts, [`{${oids.join(",")}}`]);
  return new Map(
    rows.map(([oid, name, converted]) => [
      Number(oid),
      { name: name ?? "", converted: converted === "true" },
    ]),
  );
}

/** Columns are renamed by position, so duplicate and odd names need no care. */
function convertColumns(query: string, converted: readonly boolean[]): string {
  const names = converted.map((_, index) => `c${index}`);
  const outputs = names.map((name, index) =>
    converted[index] ? `pg_catalog.to_json(q.${name})` : `q.${name}`,
  );
  return `select ${outputs.join(", ")} from (${dropSemicolons(query)}\n) as q(${names.join(", ")})`;
}

const trailing: ReadonlySet<SqlToken["kind"]> = new Set(["blank", "comment", "semicolon"]);

/** No text of the server has a NUL or half a surrogate pair, and no parameter could hold it. */
export const isServerText = (text: string): boolean => !text.includes("\0") && text.isWellFormed();

/** An array as PostgreSQL reads it: https://www.postgresql.org/docs/current/arrays.html#ARRAYS-IO */
export const arrayText = (texts: readonly string[]): string =>
  `{${texts.map((text) => `"${text.replaceAll(/["\\]/g, String.raw`\$&`)}"`).join(",")}}`;

/** The server took the query as one statement, so semicolons that end it can only stand behind everything else. */
export function dropSemicolons(query: string): string {
  const tokens = tokenizeSql(query, "any");
  const last = tokens.findLastIndex(({ kind }) => !trailing.has(kind));
  return tokens
    .map(({ kind, text }, at) => (at > last && kind === "semicolon" ? " " : text))
    .join("");
}

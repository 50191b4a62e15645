/** Databases of several encodings, and what a trial finds in one of them. */
import type { Client } from "pg";
import { corpusTypes } from "../../test/servers/corpus-types.ts";
import type { Chance } from "../fuzz/chance.ts";
import { withClient } from "./paths.ts";
import { makeTable, type TrialTable } from "./tables.ts";

export const encodings = ["utf8", "utf8", "utf8", "latin1", "sql_ascii", "euc_jp"] as const;
export type Encoding = (typeof encodings)[number];

/** Gives their URLs. */
export async function makeDatabases(url: string): Promise<ReadonlyMap<Encoding, string>> {
  const urls = new Map<Encoding, string>();
  for (const encoding of new Set(encodings)) {
    const name = `values_${encoding}`;
    await withClient(url, (client) =>
      client.query(`create database ${name} encoding '${encoding}' locale 'C' template template0`),
    );
    const own = new URL(url);
    own.pathname = `/${name}`;
    urls.set(encoding, own.href);
    await withClient(own.href, async (client) => {
      for (const statement of corpusTypes) await client.query(statement);
    });
  }
  return urls;
}

/** A table made for the trial, one of the catalogue's own, or bytes that are no text. */
export async function chooseTable(
  client: Client,
  encoding: Encoding,
  chance: Chance,
): Promise<TrialTable> {
  if (chance.once(8)) return catalogueTable(client, chance);
  if (chance.once(12)) return wideRows(chance);
  if (encoding === "sql_ascii" && chance.once(2)) return rawBytes(client, chance);
  return makeTable(client, chance);
}

const restless =
  "'pg_statistic', 'pg_db_role_setting', 'pg_largeobject', 'pg_attribute', 'pg_shdepend', 'pg_depend'";

async function catalogueTable(client: Client, chance: Chance): Promise<TrialTable> {
  const { rows } = await client.query<{ relname: string }>(
    "select relname from pg_class where relnamespace = 11 and relkind = 'r' " +
      `and relname not in (${restless}) order by 1`,
  );
  const name = chance.pick(rows).relname;
  return {
    query: `select * from ${name} order by ctid limit 400`,
    end: "",
    names: ["oid"],
    types: [],
  };
}

/** Text that is valid in its database and in no other encoding. */
async function rawBytes(client: Client, chance: Chance): Promise<TrialTable> {
  await client.query("drop table if exists trial");
  await client.query("create table trial (a text, b text)");
  const texts = [
    "\\303\\251",
    "plain",
    "\\377",
    "\\355\\240\\200",
    "\\300\\257",
    "\\364\\220\\200\\200",
  ];
  for (let left = chance.below(4); left >= 0; left -= 1)
    await client.query(
      `insert into trial values (E'x${chance.pick(texts)}y', E'${chance.pick(texts)}')`,
    );
  return { query: "select a, b from trial order by ctid", end: "", names: ["a", "b"], types: [] };
}

const sizes = [
  0,
  1,
  255,
  256,
  257,
  65_535,
  65_536,
  131_000,
  262_144,
  262_145,
  2 ** 20 - 1,
  2 ** 20,
  2 ** 22,
];
const largest = 64 * 2 ** 20;

/** Rows of any width, of one value that makes them so. */
function wideRows(chance: Chance): TrialTable {
  const bytes = chance.once(15) ? largest : chance.pick(sizes);
  const short = Math.min(bytes, 131_000);
  // With a quote in it COPY puts in quotes what is always in quotes with us, since it is so long.
  const value = chance.pick([
    `repeat(chr(34), ${bytes})`,
    `repeat(E'a,\\n\\u00e9', ${Math.floor(bytes / 5)})`,
    `repeat(E'x"\\t\\x01', ${Math.floor(bytes / 4)})`,
    `decode(repeat('ab', ${short}), 'hex')`,
    `(repeat('9', ${Math.max(1, short)}))::numeric`,
    `to_json(repeat(E'\\n"', ${Math.floor(bytes / 2)}))`,
  ]);
  const query = `select 1 as a, ${value} as wide, 'end' as b from generate_series(1, ${bytes > 2 ** 20 ? 1 : 3})`;
  return { query, end: "", names: ["a", "wide", "b"], types: [], widest: "wide" };
}

/** Random tables for a trial: types, values, names, and the settings of a role that nobody would expect. */
import type { Client } from "pg";
import type { Chance } from "../fuzz/chance.ts";
import { arrayOf, nastyNames, samples } from "./samples.ts";

export interface TrialTable {
  readonly query: string;
  /** What stands behind it in a pipeline; the server gets it as a part of its own questions, without. */
  readonly end: string;
  readonly names: readonly string[];
  readonly types: readonly string[];
  /** The column that may make rows too wide for row functions. */
  readonly widest?: string;
}

const quote = (name: string) => `"${name.replaceAll('"', '""')}"`;

/** How many columns: few, mostly; now and then none, or as many as a query may have. */
const columnCounts = [0, 1, 1, 2, 3, 5, 8, 13, 40];
const mostColumns = 1664;

function typesOf(chance: Chance): readonly string[] {
  const known = Object.keys(samples);
  const count = chance.once(60) ? mostColumns : chance.pick(columnCounts);
  const few = count === mostColumns ? ["int4", "text", "numeric", "timestamptz", "bool"] : known;
  return Array.from({ length: count }, () => chance.pick(few) + (chance.once(4) ? "[]" : ""));
}

const valueOf = (type: string, chance: Chance): string | null => {
  if (chance.once(6)) return null;
  return type.endsWith("[]") ? arrayOf(type.slice(0, -2), chance) : samples[type]!(chance);
};

/** Tables have at most 1600 columns and rows of one page: a row of more is put together by the query. */
export async function makeTable(client: Client, chance: Chance): Promise<TrialTable> {
  const types = typesOf(chance);
  const used = types.length > 100 ? types.slice(0, 100) : types;
  await client.query("drop table if exists trial");
  await client.query(`create table trial (${used.map((type, i) => `c${i} ${type}`).join(", ")})`);
  const rows = chance.pick([0, 1, 2, 3, 12]);
  for (let left = rows; left > 0; left -= 1)
    await insertRow(
      client,
      used,
      used.map((type) => valueOf(type, chance)),
    );
  const isDoubled = chance.once(5);
  const names = types.map((_, i) =>
    i < nastyNames.length && chance.once(2) ? chance.pick(nastyNames) : `n${i}`,
  );
  const seen = new Set<string>();
  const told = names.map((name, i) => {
    const free = isDoubled || !seen.has(name) ? name : `n${i}`;
    seen.add(free);
    return free;
  });
  const outputs = types.map((_, i) => `c${i % used.length} as ${quote(told[i]!)}`);
  return {
    query: `select ${outputs.join(", ")} from trial order by ctid`,
    end: chance.pick(["", "", ";", " -- the end; really", " ; /* x; */ ;\n"]),
    names: told,
    types,
  };
}

/** Values that the server takes for none of their type become NULL. */
async function insertRow(
  client: Client,
  types: readonly string[],
  values: readonly (string | null)[],
) {
  const insert = (row: readonly (string | null)[]) =>
    types.length === 0
      ? client.query("insert into trial default values")
      : client.query(`insert into trial values (${row.map((_, i) => `$${i + 1}`).join(", ")})`, [
          ...row,
        ]);
  try {
    await insert(values);
  } catch {
    const fine: (string | null)[] = [];
    for (const [index, value] of values.entries()) {
      const isValue = client.query(`select $1::${types[index]}`, [value]).then(
        () => true,
        () => false,
      );
      fine.push((await isValue) ? value : null);
    }
    await insert(fine);
  }
}

const settings: Readonly<Record<string, readonly string[]>> = {
  timezone: [
    "UTC",
    "America/St_Johns",
    "Asia/Kathmandu",
    "Pacific/Apia",
    "Africa/Monrovia",
    "<-03:30>+03:30",
  ],
  datestyle: ["ISO, DMY", "SQL, MDY", "Postgres, DMY", "German"],
  intervalstyle: ["postgres", "postgres_verbose", "sql_standard", "iso_8601"],
  extra_float_digits: ["-15", "0", "1", "3"],
  bytea_output: ["hex", "escape"],
  client_encoding: ["UTF8", "LATIN1", "SQL_ASCII", "SJIS"],
  xmlbinary: ["base64", "hex"],
  quote_all_identifiers: ["on", "off"],
  default_transaction_isolation: ["serializable", "read committed"],
  row_security: ["on", "off"],
  standard_conforming_strings: ["on", "off"],
  debug_parallel_query: ["on", "off"],
  statement_timeout: ["0", "10min"],
};

/** Settings that a role or a database brings along; gives them to be told when a trial fails. */
export async function setOddly(client: Client, database: string, chance: Chance): Promise<string> {
  await client.query("alter role postgres reset all");
  await client.query(`alter database ${database} reset all`);
  const set: string[] = [];
  for (const [name, values] of Object.entries(settings)) {
    if (chance.once(2)) continue;
    const whose = chance.once(2) ? "role postgres" : `database ${database}`;
    const value = chance.pick(values);
    try {
      await client.query(`alter ${whose} set ${name} = '${value}'`);
      set.push(`${name}=${value}`);
    } catch {
      // Not every encoding of a client goes with every encoding of a database.
    }
  }
  return set.join(" ");
}

/** Where a process may run. */
export const processZones = [
  "UTC",
  "America/New_York",
  "Asia/Kolkata",
  "Pacific/Kiritimati",
  "Europe/Dublin",
];

/**
 * Exports that go on by key, cut off at random: keys of any type and order, and tables that are written to in between. The
 * oracle is the server: up to the last row of an epoch the table as it was then, behind it the table as it became. Where a
 * join or a rollup makes keys null, nothing may be committed, however often it was cut off.
 */
import { readFile, readdir } from "node:fs/promises";
import { join } from "node:path";
import type { Client } from "pg";
import { readWhole } from "../../test/fixtures/manifest.ts";
import { startTcpProxy } from "../../test/servers/tcp-proxy.ts";
import { harms } from "./harms.ts";
import { type Export, leftIn, makeExport, restoredTexts } from "./pipeline.ts";
import { withClient } from "./server.ts";
import { attempt, type Outcome, pickOf, type Trial } from "./trial.ts";

const rows = 2500;

/** A type, and an expression of SQL for the i-th of its values; ties are left to the columns behind it. */
const keyTypes: readonly (readonly [type: string, value: string])[] = [
  ["bigint", "9007199254740992 + (i - 1250) * 3"],
  ["numeric", "(i - 1250) * 1.0000000000000000001"],
  ["numeric", "(i % 17)::numeric / 7"],
  ["int", "i % 5"],
  ["boolean", "i % 2 = 0"],
  [
    "text",
    "chr(65 + i % 26) || chr(97 + i % 7) || 'é' || chr(39) || chr(92) || chr(128512 + i % 9)",
  ],
  ["text", "repeat(' ', i % 4) || md5(i::text)"],
  ['text collate "en-x-icu"', "chr(97 - 32 * (i % 2) + i % 26) || (i % 11)"],
  ['varchar collate "und-x-icu"', "chr(228 - 32 * (i % 2)) || md5((i / 2)::text)"],
  ["char(6)", "substr(md5(i::text), 1, 3)"],
  ["uuid", "md5(i::text)::uuid"],
  ["timestamptz", "timestamptz '2024-01-01' + (i % 40) * interval '1 microsecond'"],
  ["timestamp", "timestamp '0044-03-15 00:00:00 BC' + i * interval '1 day 0.000001 seconds'"],
  ["date", "case i % 50 when 0 then 'infinity'::date else date '2024-02-28' + i % 50 end"],
  ["float8", "case i % 9 when 0 then 'NaN'::float8 when 1 then '-infinity' else i / 3.0 end"],
  ["float4", "(i % 100) / 7.0"],
  ["bytea", "decode(md5(i::text), 'hex')"],
  ["interval", "(i % 60) * interval '1 month 1 hour'"],
  ["inet", "('10.0.' || i % 256 || '.1')::inet"],
  ["int4range", "int4range(i % 30, i % 30 + 2)"],
  ["text[]", "array['a,' || i % 7, null, '\"']"],
];

interface Keyed {
  readonly table: string;
  /** Names of the key's columns as the config has them: `k1 desc`. */
  readonly key: readonly string[];
  readonly names: readonly string[];
}

/** Queries with rows whose key, or the last part of it, is null. */
const unkeyed: readonly ((keyed: Keyed) => string)[] = [
  ({ table, names }) =>
    `select t.* from (select ${names.at(-1)} as last from ${table} union all select -g from generate_series(1, 9) g) as a
     left join ${table} t on t.${names.at(-1)} = a.last`,
  ({ table, names }) =>
    `select ${names.join(", ")}, count(*) from ${table} group by rollup (${names.join(", ")})`,
];

export async function proveEpochs({ stage, home, trial, random }: Trial): Promise<Outcome> {
  const { serverUrl } = stage;
  const keyed = await makeTable(serverUrl, trial, random);
  const { table, key } = keyed;
  const proxy = await startTcpProxy(Number(new URL(serverUrl).port));
  const application = `epochs-${trial}`;
  const url = `postgres://postgres:secret@127.0.0.1:${proxy.port}/postgres?application_name=${application}`;
  const settings = { key, resume: "epochs" };
  const isUnkeyed = random() < 0.3;
  const query = isUnkeyed ? pickOf(unkeyed, random)(keyed) : `select * from ${table}`;
  const made = makeExport({ home, url, query, path: "rows", settings });
  const isWrittenTo = random() < 0.5;
  const attempts = 1 + Math.floor(random() * 3);
  const scene = { proxy, gate: made.gate, serverUrl, application, random, answerBytes: 500_000 };
  try {
    let isCommitted = false;
    for (let n = 0; n < attempts && !isCommitted; n += 1) {
      const harm = pickOf(
        harms.filter(({ silences }) => !silences),
        random,
      );
      const [ended] = await Promise.all([attempt(made), harm.do(scene)]);
      proxy.heal();
      isCommitted = !ended;
      if (ended && isWrittenTo) await writeTo(serverUrl, table, n + 1);
    }
    if (isUnkeyed) return await endUnkeyed(made, isCommitted);
    if (!isCommitted) await attempt(made, true);
    const count = await checkEpochs(serverUrl, keyed, made.out);
    if ((await leftIn(made.folder)).length > 0) throw new Error("epochs: the spool is not empty");
    return { what: `by key${isWrittenTo ? ", written to" : ""}: whole, in ${count} epochs` };
  } catch (error) {
    throw new Error(`epochs of ${key.join(", ")}: ${String(error)}`, { cause: error });
  } finally {
    await proxy.close();
  }
}

async function endUnkeyed(made: Export, isCommitted: boolean): Promise<Outcome> {
  const ended = isCommitted ? undefined : await attempt(made);
  if (!ended) throw new Error("rows without a key were left out");
  if (!/`key`.* null/.test(ended.message)) throw new Error(`another failure: ${ended.message}`);
  return { what: "by key, null in some rows: refused" };
}

async function makeTable(url: string, trial: number, random: () => number): Promise<Keyed> {
  const table = `epochs_${trial}`;
  const types = Array.from({ length: 1 + Math.floor(random() * 3) }, () =>
    pickOf(keyTypes, random),
  );
  // Whatever ties there are, the last column ends them.
  const columns = [...types, ["bigint", "i"] as const].map(
    ([type], i) => `k${i + 1} ${type} not null`,
  );
  const values = [...types.map(([, value]) => value), "i"];
  const names = values.map((_, i) => `k${i + 1}`);
  await withClient(url, async (client) => {
    await client.query(
      `create table ${table} (${columns.join(", ")}, payload text, version int default 0, unique (${names.join(", ")}))`,
    );
    await client.query(
      `insert into ${table} select ${values.join(", ")}, repeat(md5(i::text), 1 + i % 9), 0
       from (select i from generate_series(1, ${rows}) as g(i) order by md5(i::text)) as shuffled`,
    );
    await keep(client, table, 0);
  });
  return { table, names, key: names.map((name) => (random() < 0.3 ? `${name} desc` : name)) };
}

/** Every version of the table is kept for the oracle. */
const keep = (client: Client, table: string, version: number) =>
  client.query(`create table ${table}_${version} as select * from ${table}`);

/** Some rows go, some change, and some come where others are. */
async function writeTo(url: string, table: string, version: number): Promise<void> {
  await withClient(url, async (client) => {
    const { rows: columns } = await client.query<{ name: string }>(
      `select attname as name from pg_attribute where attrelid = '${table}'::regclass and attname ~ '^k'`,
    );
    const keys = columns.map(({ name }) => name);
    const last = keys.at(-1)!;
    await client.query(`delete from ${table} where ${last} % 4 = ${version % 4}`);
    await client.query(`update ${table} set version = ${version}, payload = payload || 'x'`);
    await client.query(
      `insert into ${table} select ${keys.slice(0, -1).join(", ")}, ${last} + ${version * 10_000}, payload, ${version}
       from ${table} where ${last} % 5 = 0 and ${last} < 10000`.replace("select , ", "select "),
    );
    await keep(client, table, version);
  });
}

/** Rows of each epoch are those of one version, in a range of the key that begins where the one before ended. */
async function checkEpochs(url: string, { table, key }: Keyed, out: string): Promise<number> {
  const [text = ""] = await restoredTexts(out);
  const [run = ""] = await readdir(out);
  const { head } = await readWhole(await readFile(join(out, run, "manifest.json")));
  const { proof } = head.consistency;
  const count = head.consistency.class === "epochs" ? Number(proof["epochs"]) : 1;
  const found = text.trimEnd().split("\n");
  await withClient(url, async (client) => {
    await client.query("set timezone to 'UTC'");
    let at = 0;
    let last: string | undefined;
    for (let epoch = 1; epoch <= count; epoch += 1) {
      const length = count === 1 ? found.length : Number(proof[`epoch${epoch}.rows`]);
      const lines = found.slice(at, at + length);
      // Which version an epoch read is in its rows; one without rows is at the end.
      const version = (JSON.parse(lines[0] ?? '{"version":-1}') as { version: number }).version;
      const seen = version < 0 ? [] : await rowsBehind(client, { table, key, version, last });
      const expected = epoch < count ? seen.slice(0, length) : seen;
      if (version >= 0 && lines.join("\n") !== expected.join("\n"))
        throw new Error(
          `epoch ${epoch} of ${count}: ${lines.length} rows are not those of version ${version}`,
        );
      last = lines.at(-1) ?? last;
      at += length;
    }
    if (at !== found.length)
      throw new Error(`epochs of ${at} rows in an export of ${found.length}`);
  });
  return count;
}

interface Behind {
  readonly table: string;
  readonly key: readonly string[];
  readonly version: number;
  /** A row of an earlier version; none for the first epoch. */
  readonly last: string | undefined;
}

/** The rows of a version behind a row, by their rank among all keys there ever were. */
async function rowsBehind(
  client: Client,
  { table, key, version, last }: Behind,
): Promise<readonly string[]> {
  const names = key.map((written) => written.replace(" desc", ""));
  const { rows: versions } = await client.query<{ name: string }>(
    `select relname as name from pg_class where relname ~ '^${table}_\\d+$'`,
  );
  const all = versions.map(({ name }) => `select ${names.join(", ")} from ${name}`).join(" union ");
  const { rows: lines } = await client.query<{ line: string }>(
    `with ranked as (select *, row_number() over (order by ${key.join(", ")}) as rank from (${all}) as a),
       was as (select (json_populate_record(null::${table}, $1::json)).*),
       bound as (select coalesce(max(rank), 0) as rank from ranked join was using (${names.join(", ")}))
     select row_to_json(t)::text as line from ${table}_${version} t
     join ranked using (${names.join(", ")})
     where ranked.rank > (select rank from bound) order by ranked.rank`,
    [last ?? null],
  );
  return lines.map(({ line }) => line);
}

/**
 * A table that is written to, emptied and altered while it is exported. Every transaction of the storm makes version v + 1 of
 * the whole table of version v, so that an export of mixed snapshots, or of none, cannot look right.
 */
import { createHash } from "node:crypto";
import { Client } from "pg";
import { startTcpProxy } from "../../test/servers/tcp-proxy.ts";
import { attempt, type Outcome, pickOf, type Trial } from "./trial.ts";
import { leftIn, makeExport, type Path, paths, restoredTexts } from "./pipeline.ts";
import { withClient } from "./server.ts";

const rows = 2000;
/** Rows that leave and rows that come with each version. */
const moved = 10;

const payloadOf = (id: number, version: number): string =>
  createHash("md5").update(`${id}:${version}`).digest("hex");

const insertVersion = (table: string, version: number): string =>
  `insert into ${table} (id, version, payload) select i, ${version}, md5(i || ':' || ${version})
   from generate_series(${version * moved + 1}, ${version * moved + rows}) i`;

type Step = (table: string, version: number) => readonly string[];

/** Ways from one version to the next. */
const steps: readonly Step[] = [
  (table, next) => [
    `update ${table} set version = ${next}, payload = md5(id || ':' || ${next})`,
    `delete from ${table} where id <= ${next * moved}`,
    `insert into ${table} (id, version, payload) select i, ${next}, md5(i || ':' || ${next})
     from generate_series(${(next - 1) * moved + rows + 1}, ${next * moved + rows}) i`,
  ],
  (table, next) => [`truncate ${table}`, insertVersion(table, next)],
  (table, next) => [`delete from ${table}`, insertVersion(table, next)],
  (table, next) => [
    `alter table ${table} add column note_${next} text default 'x'`,
    `delete from ${table}`,
    insertVersion(table, next),
  ],
  (table, next) => [
    `alter table ${table} alter column extra type ${next % 2 ? "text" : "varchar"}`,
    `alter table ${table} drop column extra, add column extra text`,
    `truncate ${table}`,
    insertVersion(table, next),
  ],
];

/** Storms until it is told to stop; gives the version that was reached. */
async function storm(url: string, table: string, random: () => number, isOver: () => boolean) {
  await withClient(url, async (client) => {
    await client.query("set lock_timeout = 100");
    for (let version = 0; !isOver();) {
      const step = pickOf(steps, random);
      const done = await inTransaction(client, step(table, version + 1));
      if (done) version += 1;
    }
  });
}

/** False when the export's lock stood in the way. */
async function inTransaction(client: Client, statements: readonly string[]): Promise<boolean> {
  try {
    await client.query("begin");
    for (const statement of statements) await client.query(statement);
    await client.query("commit");
    return true;
  } catch (error) {
    await client.query("rollback").catch(() => {});
    if ((error as { code?: string }).code === "55P03") return false;
    throw error;
  }
}

export async function proveStorm({ stage, home, trial, random }: Trial): Promise<Outcome> {
  const { serverUrl } = stage;
  const table = `storm_${trial}`;
  const path = pickOf(paths, random);
  await withClient(serverUrl, async (client) => {
    await client.query(
      `create table ${table} (id bigint primary key, version int, payload text, extra text)`,
    );
    await client.query(insertVersion(table, 0));
  });
  const proxy = await startTcpProxy(Number(new URL(serverUrl).port));
  const url = serverUrl.replace(/:\d+\//, `:${proxy.port}/`);
  const query = `select id, version, payload from ${table} order by id`;
  const made = makeExport({ home, url, query, path });
  let over = false;
  const storming = storm(serverUrl, table, random, () => over);
  // It is awaited at the end.
  storming.catch(() => {});
  try {
    let failures = 0;
    if (random() < 0.5) proxy.cutAfter(Math.ceil(random() * 200_000));
    for (let tries = 0; tries < 40; tries += 1) {
      const error = await attempt(made, false, failures > 0);
      if (!error) break;
      failures += 1;
      // The last ones in calm: a table that is always locked is nobody's promise.
      if (tries === 30) over = true;
    }
    const texts = await restoredTexts(made.out);
    if (texts.length !== 1)
      throw new Error(`storm, ${path}: ${texts.length} exports were committed`);
    for (const text of texts) checkVersion(text, path);
    if ((await leftIn(made.folder)).length > 0) throw new Error("storm: the spool is not empty");
    return { what: `storm, ${path}: ${failures > 0 ? "failed, then whole" : "whole"}` };
  } finally {
    over = true;
    await storming;
    await proxy.close();
  }
}

/** The rows are those of one version, all of them, in order. */
function checkVersion(text: string, path: Path): void {
  const lines = text.trimEnd().split("\n");
  const found = (path === "copy" ? lines.slice(1) : lines).map((line) => {
    if (path === "copy") return line.split(",");
    const { id, version, payload } = JSON.parse(line) as Record<string, string | number>;
    return [String(id), String(version), String(payload)];
  });
  const version = Number(found[0]?.[1]);
  const expected = Array.from({ length: rows }, (_, i) => {
    const id = version * moved + 1 + i;
    return [String(id), String(version), payloadOf(id, version)];
  });
  const wrong = expected.findIndex((row, i) => row.join() !== found[i]?.join());
  if (wrong !== -1 || found.length !== rows)
    throw new Error(
      `storm, ${path}: ${found.length} rows, not those of version ${version} (row ${wrong})`,
    );
}

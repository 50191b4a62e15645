/**
 * The one snapshot all rows come from, and what can be said of it.
 * Source: https://mariadb.com/kb/en/start-transaction/, https://mariadb.com/kb/en/enhancements-for-start-transaction-with-consistent-snapshot/
 */
import { PipelineError } from "../../errors.ts";
import type { Consistency } from "../nouns.ts";
import type { Log } from "../stage.ts";
import type { Session } from "./mysql-session.ts";

/**
 * What a server's own settings must not change: texts are UTF-8 both ways (of what the login asks for, `init_connect` and
 * `skip-character-set-client-handshake` make something else), no row is left out, times are UTC, and a paused export is
 * waited for a day, whether its rows are on their way or all sent.
 */
const settings =
  "set names utf8mb4 collate utf8mb4_unicode_ci, session time_zone = '+00:00', " +
  "sql_select_limit = 18446744073709551615, net_write_timeout = 86400, wait_timeout = 86400";
/** Time limits that such a pause would meet, of MariaDB and of MySQL: each refuses the other's. */
const limits = [
  "max_statement_time = 0, idle_transaction_timeout = 0, idle_readonly_transaction_timeout = 0",
  "max_execution_time = 0",
];
const isolation = "set transaction isolation level repeatable read";
const begin = "start transaction with consistent snapshot, read only";

/**
 * Begins a read-only transaction on a snapshot of now.
 * @param query looked through for tables that are in no snapshot
 */
export async function beginSnapshot(
  session: Session,
  query: string,
  log: Log,
): Promise<Consistency> {
  await session.ask(settings);
  for (const limit of limits) await tryAsk(session, `set session ${limit}`);
  await session.ask(isolation);
  const before = await tryAsk(session, "select @@global.gtid_executed");
  await session.ask(begin);
  const [[server = null, time = null] = []] = await session.ask(
    "select version(), date_format(utc_timestamp(6), '%Y-%m-%dT%H:%i:%s.%fZ')",
  );
  const proof = { server, time, ...(await readPosition(session, before?.[0])) };
  const outside = await findOutside(session, query);
  if (outside.length === 0) return { class: "snapshot", proof };
  const tables = outside.join(", ");
  log.warn(
    `${tables}: the engine of these tables keeps no snapshots, so their rows are as of when they are read; the manifest says \`stream\``,
  );
  return { class: "stream", proof: { ...proof, outsideSnapshot: tables } };
}

export const commit = async (session: Session): Promise<void> => void (await session.ask("commit"));

/**
 * Where the snapshot is in the binary log: MariaDB knows it of the transaction, MySQL of the server, so there it counts
 * only when it is the same before and after.
 */
async function readPosition(
  session: Session,
  gtidBefore: unknown,
): Promise<Record<string, string | number | null>> {
  const status = (await tryAskAll(session, "show status like 'binlog_snapshot_%'")) ?? [];
  const of = (name: string) =>
    status.find(([key]) => String(key).toLowerCase() === name)?.[1] ?? "";
  const [file, position] = [of("binlog_snapshot_file"), of("binlog_snapshot_position")];
  if (file !== "") return { binlogFile: file, binlogPosition: Number(position) };
  const after = await tryAsk(session, "select @@global.gtid_executed");
  const gtid = after?.[0];
  return gtid !== undefined && gtid !== null && gtid !== "" && gtid === gtidBefore ? { gtid } : {};
}

/** Engines with snapshots of many versions; all others show a row as it is when it is read. */
const versioned = "'InnoDB', 'ROCKSDB', 'TokuDB'";

/**
 * Tables named in the query, quoted or not, whose engine has no snapshots. Those behind a view are not seen. To some servers
 * a name is the same in capitals.
 */
async function findOutside(session: Session, query: string): Promise<readonly string[]> {
  // In a quoted name a quote of its own is written twice.
  const bare = query.toLowerCase().replaceAll(/[`"]/g, "");
  const engines = await tryAskAll(
    session,
    `select table_name, engine from information_schema.tables
      where engine not in (${versioned}) and table_schema not in ('mysql', 'sys', 'information_schema', 'performance_schema')
      and instr(0x${Buffer.from(bare).toString("hex")}, lower(replace(replace(table_name, '\`', ''), '"', ''))) > 0 limit 100`,
  );
  const asked = wordsOf(query);
  const named = (engines ?? []).filter(([table]) => asked.includes(wordsOf(String(table))));
  return named.map(([table, engine]) => `${table} (${engine})`);
}

/** A quoted name may be several words, or signs alone: of these it is enough that the server has seen them. */
const wordsOf = (text: string): string =>
  ` ${(text.toLowerCase().match(/[\p{L}\p{N}_$]+/gu) ?? []).map((word) => `${word} `).join("")}`;

/** An answer that the server may refuse to give; none then. */
async function tryAskAll(session: Session, sql: string) {
  try {
    return await session.ask(sql);
  } catch (error) {
    if (session.life.aborted || !(error instanceof PipelineError)) throw error;
    return undefined;
  }
}

const tryAsk = async (session: Session, sql: string) => (await tryAskAll(session, sql))?.[0];

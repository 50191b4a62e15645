/** The transaction of an export: what is past before it, its settings, its one snapshot, the proof of it, what would break it. */
import { PipelineError } from "../../errors.ts";
import type { Consistency } from "../nouns.ts";
import type { Session } from "./postgres-session.ts";

/** Settings that decide how values are printed and how long the server waits; only for this transaction. */
export async function beginSnapshot(
  session: Session,
  config: { readonly statementTimeout?: number | undefined; readonly timeout: number },
): Promise<void> {
  const settings: Record<string, string> = {
    timezone: "UTC",
    datestyle: "ISO, YMD",
    intervalstyle: "postgres",
    extra_float_digits: "1",
    client_encoding: "UTF8",
    bytea_output: "hex",
    statement_timeout: String(config.statementTimeout ?? 0),
    idle_in_transaction_session_timeout: "0",
    transaction_timeout: "0",
    // A pause of ours looks to it like a connection that takes nothing any more.
    tcp_user_timeout: "0",
    // A little before our own deadline, so that the reason we hear is the lock.
    lock_timeout: String(Math.ceil(config.timeout * 0.8)),
  };
  await session.ask("begin transaction isolation level repeatable read read only");
  // Through pg_settings: servers before 17 have no transaction_timeout.
  await session.ask(
    "select pg_catalog.set_config(name, $1::json ->> lower(name), true) from pg_catalog.pg_settings " +
      "where lower(name) in (select json_object_keys($1::json))",
    [JSON.stringify(settings)],
  );
}

/** As JSON, which is printed alike whatever the login's `datestyle` is. */
const knownNow = `
select pg_catalog.to_json(
  case when pg_catalog.pg_is_in_recovery()
       then least(pg_catalog.now(), coalesce(pg_catalog.pg_last_xact_replay_timestamp(), '-infinity'))
       else pg_catalog.now() end)::text`;

/**
 * The time of which the server knows that all is past: on a standby no later than what it has replayed of its primary; one
 * that has replayed nothing yet knows nothing. Call it before the snapshot is taken: a standby's moves on while that stays.
 */
export async function readKnownNow(session: Session): Promise<string> {
  const { rows } = await session.ask(knownNow);
  return JSON.parse(rows[0]![0]!) as string;
}

/** The transaction's first look at data: from here on its snapshot stands. */
export async function readConsistency(session: Session): Promise<Consistency> {
  const { rows } = await session.ask(
    "select pg_current_snapshot(), case when pg_is_in_recovery() then pg_last_wal_replay_lsn() " +
      "else pg_current_wal_lsn() end, current_setting('server_version'), current_database(), now(), " +
      "pg_backend_pid(), pg_postmaster_start_time(), " +
      "(select backend_start from pg_stat_activity where pid = pg_backend_pid())",
  );
  const [snapshot = null, lsn = null, serverVersion = null, database = null, time = null] =
    rows[0] ?? [];
  const [pid, serverStarted, started] = rows[0]?.slice(5) ?? [];
  if (pid && started && serverStarted) session.backend = { pid, started, serverStarted };
  return {
    class: "snapshot",
    proof: { snapshot, lsn, serverVersion, database, transactionTime: time },
  };
}

/**
 * Tables that this transaction has locked and that are not those of its snapshot. A catalogue is read as the snapshot sees
 * it, `pg_relation_filenode` as things are now. Tables of the catalogue itself have no file of their own there.
 */
const rewritten = `
select count(*)
from pg_catalog.pg_locks l left join pg_catalog.pg_class c on c.oid = l.relation
where l.locktype = 'relation' and l.pid = pg_catalog.pg_backend_pid()
  and case when c.oid is null then pg_catalog.pg_get_indexdef(l.relation) is null
           else c.relkind in ('r', 'm') and c.relfilenode <> 0
                and c.relfilenode is distinct from pg_catalog.pg_relation_filenode(l.relation) end`;

/**
 * A table that is emptied, rewritten or replaced after the snapshot was taken and before the query locked it looks empty,
 * without an error: TRUNCATE, some of ALTER TABLE and a table put in another's place do not follow snapshots.
 * Source: https://www.postgresql.org/docs/current/mvcc-caveats.html
 * @throws PipelineError `source-failed` for such a table; a new attempt takes a new snapshot
 */
export async function refuseRewritten(session: Session): Promise<void> {
  const { rows } = await session.ask(rewritten);
  if (rows[0]?.[0] === "0") return;
  throw new PipelineError(
    "source-failed",
    "a table of the query was emptied, rewritten or replaced just after the snapshot was taken, which hides its rows; run again",
  );
}

/** A failed transaction answers COMMIT with ROLLBACK and no error. */
export async function commit(session: Session): Promise<void> {
  const { command } = await session.ask("commit");
  if (command === "COMMIT") return;
  throw new PipelineError(
    "source-failed",
    `the server ended the transaction with ${command}; expected COMMIT`,
  );
}

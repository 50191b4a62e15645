/**
 * What `doctor` asks of a PostgreSQL server before an export: the login as it is, the query as it would run, and what
 * could end or weaken a long one. Reads no row.
 */
import { PipelineError } from "../../errors.ts";
import { formatDuration } from "../atoms.ts";
import { doubt, fault, good, type Finding } from "../finding.ts";
import { staysOnThisMachine } from "../this-machine.ts";
import { openQuery } from "./postgres.ts";
import { type ClientParts, createClient } from "./postgres-client.ts";
import { probeQuery, type ProbedQuery } from "./postgres-query-probe.ts";
import { openSession, type Session, type SessionOptions } from "./postgres-session.ts";

/** Longest wait for one answer. */
const answerMillis = 5000;
/** The first with `pg_current_snapshot`. */
const oldestVersion = 130_000;

export async function* probePostgres(
  given: ProbedQuery,
  composites: "json" | "text",
  signal: AbortSignal,
): AsyncGenerator<Finding> {
  const config = {
    ...given,
    connectTimeout: Math.min(given.connectTimeout, answerMillis),
    timeout: Math.min(given.timeout, answerMillis),
  };
  const { url, connectTimeout: connectMillis, timeout } = config;
  const options = { url, connectMillis, answerMillis: timeout };
  try {
    yield* probeServer(options, signal);
  } catch (error) {
    signal.throwIfAborted();
    yield asFault("server", error);
    return;
  }
  try {
    const opened = await openQuery(config, signal, composites);
    try {
      yield* probeQuery(opened, given);
    } finally {
      await opened.session.close();
    }
  } catch (error) {
    signal.throwIfAborted();
    yield asFault("query", error);
  }
}

function asFault(check: string, error: unknown): Finding {
  if (error instanceof PipelineError) return fault(check, error);
  throw error;
}

async function* probeServer(options: SessionOptions, signal: AbortSignal): AsyncGenerator<Finding> {
  const session = await openSession(options, signal);
  try {
    const { rows } = await session.ask(
      "select current_setting('server_version'), current_setting('server_version_num'), pg_is_in_recovery()::text",
    );
    const [version = "", number = "0", inRecovery] = rows[0] ?? [];
    if (Number(number) < oldestVersion) {
      throw new PipelineError(
        "source-refused",
        `the server is PostgreSQL ${version}; expected 13 or newer`,
      );
    }
    const role = inRecovery === "true" ? "a standby" : "a primary";
    yield good("server", `PostgreSQL ${version}, ${role}; the login works`);
    yield describeTls(options);
    const settings = await readSettings(session);
    if (inRecovery === "true") yield describeStandby(settings);
    yield* describeKillers(settings);
  } finally {
    await session.close();
  }
}

/** By what the client was told: `pg` never falls back to plain text. */
function describeTls(options: SessionOptions): Finding {
  const { ssl, host } = createClient(options).client as unknown as ClientParts;
  if (!ssl) {
    if (staysOnThisMachine(host)) return good("TLS", "none; the server is on this machine");
    return doubt(
      "TLS",
      "declined by `url` or PGSSLMODE",
      "rows and password can be read on the way; leave `sslmode=disable` out",
    );
  }
  const { rejectUnauthorized, checkServerIdentity } = ssl as {
    rejectUnauthorized?: boolean;
    checkServerIdentity?: unknown;
  };
  if (rejectUnauthorized !== false && checkServerIdentity === undefined)
    return good("TLS", "encrypted; certificate and host name are verified");
  return doubt(
    "TLS",
    rejectUnauthorized === false
      ? "encrypted, but the certificate is not verified"
      : "encrypted, but the host name is not verified",
    "whoever stands between can pose as the server; use `sslmode=verify-full`, with `sslrootcert` for an authority of your own",
  );
}

type Settings = ReadonlyMap<string, string>;

/** In the units of pg_settings. */
async function readSettings(session: Session): Promise<Settings> {
  const { rows } = await session.ask(
    "select name, setting from pg_catalog.pg_settings where name in " +
      "('hot_standby_feedback', 'max_standby_streaming_delay', 'tcp_user_timeout', 'old_snapshot_threshold')",
  );
  return new Map(rows.map(([name, setting]) => [name ?? "", setting ?? ""]));
}

function describeStandby(settings: Settings): Finding {
  const delayMillis = Number(settings.get("max_standby_streaming_delay"));
  if (settings.get("hot_standby_feedback") === "on")
    return good("standby", "hot_standby_feedback is on: the primary keeps rows an export needs");
  if (delayMillis === -1)
    return good("standby", "replay waits for queries (max_standby_streaming_delay is -1)");
  const delay = delayMillis > 0 ? formatDuration(delayMillis) : "0";
  return doubt(
    "standby",
    `hot_standby_feedback is off and max_standby_streaming_delay is ${delay}`,
    "a longer export is cancelled when the primary cleans up rows it needs; set hot_standby_feedback = on there",
  );
}

/** What ends a connection that is held back on purpose, and cannot be switched off within a transaction. */
function* describeKillers(settings: Settings): Generator<Finding> {
  if (Number(settings.get("tcp_user_timeout") ?? 0) > 0)
    yield doubt(
      "tcp_user_timeout",
      "is set for this login",
      "a pause longer than that, while the spool is full, ends the export; set it to 0 for this role",
    );
  if (Number(settings.get("old_snapshot_threshold") ?? -1) >= 0)
    yield doubt(
      "old_snapshot_threshold",
      "is set on the server",
      "an export that takes longer fails with `snapshot too old`; set it to -1",
    );
}

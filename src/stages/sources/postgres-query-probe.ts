/** What `doctor` asks of an opened query: its snapshot, the limits that hold in it, its size, its rights, its key. */
import { PipelineError } from "../../errors.ts";
import { formatBytes, formatDuration } from "../atoms.ts";
import { doubt, good, type Finding } from "../finding.ts";
import type { OpenedQuery, openQuery } from "./postgres.ts";
import { explain, type PlanNode, withoutTrace } from "./postgres-explain.ts";
import { examineKey } from "./postgres-key.ts";
import type { Session } from "./postgres-session.ts";

const planMillis = 3000;
/** Insufficient privilege, also of a query that row-level security would change. */
const notAllowed = "42501";
const cancelled = "57014";

/** What of the source's config is looked at. */
export type ProbedQuery = Parameters<typeof openQuery>[0] & {
  readonly key?: readonly string[] | undefined;
};

/** @throws PipelineError as a run would, such as for a table that may not be read */
export async function* probeQuery(
  opened: OpenedQuery,
  given: ProbedQuery,
): AsyncGenerator<Finding> {
  const { session, columns } = opened;
  yield good("query", `gives ${columns.length} column${columns.length === 1 ? "" : "s"}`);
  yield* probeTransaction(session, given);
  const planned = yield* estimate(opened);
  if (planned) yield* probeRowSecurity(opened);
  if (given.key) yield await probeKey(session, given.query, given.key);
}

/** Settings of a role or database come back here where a pooler in between does not do as it is told. */
async function* probeTransaction(session: Session, given: ProbedQuery): AsyncGenerator<Finding> {
  const { rows } = await session.ask(
    "select current_setting('transaction_isolation'), current_setting('transaction_read_only')",
  );
  const [isolation, readOnly] = rows[0] ?? [];
  if (isolation !== "repeatable read" || readOnly !== "on")
    throw new PipelineError(
      "source-refused",
      `the server gave a transaction that is ${isolation}; expected repeatable read, read only (a pooler in between may not pass it on)`,
    );
  yield good("snapshot", "repeatable read, read only");
  const limits = await session.ask(
    "select name, setting from pg_catalog.pg_settings where setting <> '0' and name in " +
      "('statement_timeout', 'idle_in_transaction_session_timeout', 'transaction_timeout')",
  );
  const wanted = given.statementTimeout;
  const stubborn = limits.rows
    .filter(([name]) => name !== "statement_timeout" || wanted === undefined)
    .map(([name, setting]) => `${name} is ${formatDuration(Number(setting))}`);
  if (stubborn.length > 0)
    yield doubt(
      "time limits",
      `${stubborn.join(", ")} in spite of us`,
      "a longer export, or a pause while the spool is full, is ended by the server; set them to 0 for this role",
    );
  else if (wanted !== undefined)
    yield doubt(
      "time limits",
      `\`statementTimeout\` ends the query after ${formatDuration(wanted)}`,
      "pauses while the spool is full count; leave it out unless the server must be protected",
    );
  else yield good("time limits", "none of the server's holds during an export");
}

/** The planner's guess, which also shows whether the tables may be read. */
async function* estimate({ session, sql, values }: OpenedQuery): AsyncGenerator<Finding, boolean> {
  try {
    const plan = await attempt(session, { sql, values });
    const { "Plan Rows": count = 0, "Plan Width": width = 0 } = plan;
    yield good(
      "size",
      `the planner expects ${count.toLocaleString("en")} rows of ${width} bytes, ${formatBytes(count * width)}`,
    );
    return true;
  } catch (error) {
    if (stateOf(error) !== cancelled) throw error;
    yield doubt(
      "size",
      `the planner took longer than ${formatDuration(planMillis)}`,
      "progress is told without an end in sight",
    );
    return false;
  }
}

/** Policies hide rows without a word; with `row_security = off` the server says so. */
async function* probeRowSecurity({
  session,
  sql,
  values,
}: OpenedQuery): AsyncGenerator<Finding, void> {
  try {
    await attempt(session, { sql, values }, "set local row_security = off");
    yield good("rights", "the tables may be read, and no policy hides rows");
  } catch (error) {
    if (stateOf(error) !== notAllowed) throw error;
    yield doubt(
      "rights",
      "row-level security applies to this user",
      "rows that its policies hide are not exported, and no count shows it; use a role with BYPASSRLS if all are wanted",
    );
  }
}

const stateOf = (error: unknown): unknown =>
  error instanceof PipelineError ? error.details["sqlstate"] : undefined;

const attempt = (
  session: Session,
  { sql, values }: Pick<OpenedQuery, "sql" | "values">,
  setting?: string,
): Promise<PlanNode> =>
  withoutTrace(session, async () => {
    await session.ask(`set local statement_timeout = ${planMillis}`);
    if (setting !== undefined) await session.ask(setting);
    return explain(session, sql, values);
  });

async function probeKey(session: Session, query: string, key: readonly string[]): Promise<Finding> {
  const { flaw } = await examineKey(session, query, key);
  if (flaw === undefined) return good("key", "is unique and not null in its table");
  return doubt(
    "key",
    flaw,
    "the server does not vouch for it; make sure it is unique and never null, or leave `key` out",
  );
}

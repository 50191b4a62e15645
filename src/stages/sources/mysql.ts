/**
 * what: the rows of one query on a MySQL or MariaDB server, in one read-only snapshot · takes nothing / gives rows (tuples of texts)
 * holds: a row of the largest size allowed as bytes and as texts, the batch being used and the next one
 * order: as the query gives it
 * ends: a batch without rows that carries the proof, once the server said that the result ends and took the commit
 * fails: source-unreachable, source-failed: try again; source-refused: fix url or query; source-bad-data: a row too large,
 *   JSON that is none. TLS is verified unless `ssl-mode` in `url` says otherwise; a server on this machine is reached without it.
 */
import * as v from "valibot";
import { boundValues, duration, secret, text } from "../atoms.ts";
import { PipelineError } from "../../errors.ts";
import type { RowBatch } from "../nouns.ts";
import { defineStage, type StageContext } from "../stage.ts";
import { batchBytes, digestQuery } from "./input-file.ts";
import { bindValues, type Statement } from "./mysql-connection.ts";
import { type RowsOfBatch, readRows } from "./mysql-rows.ts";
import { openSession, type Session } from "./mysql-session.ts";
import { beginSnapshot, commit } from "./mysql-snapshot.ts";
import { readMysqlUrl } from "./mysql-url.ts";
import { heldRecord, maxRecord } from "./ndjson.ts";

const config = v.strictObject({
  url: v.pipe(
    secret,
    v.regex(/^(mysql|mariadb):\/\//, "expected mysql://user@host:port/database"),
    v.description(
      "connection URL, best as `${env:…}`; TLS is verified unless its `ssl-mode` says otherwise",
    ),
  ),
  query: v.pipe(text, v.description("one SELECT; required")),
  params: v.pipe(
    boundValues,
    v.description("values for the `?` of the query, in order; bound, never pasted into it"),
  ),
  maxRecord,
  timeout: v.pipe(
    v.optional(duration, "60s"),
    v.description("longest silence of the server while rows are awaited, the first one included"),
  ),
  connectTimeout: v.pipe(
    v.optional(duration, "10s"),
    v.description("longest wait for connection and login"),
  ),
});

export type MysqlConfig = v.InferOutput<typeof config>;

/** What the library keeps of statements, columns and a read of the socket. */
const besideBytes = 2 ** 20;

export const mysql = defineStage({
  name: "mysql",
  summary:
    "Reads the rows of one query from MySQL or MariaDB in one snapshot, with every digit of every value.",
  config,
  takes: "nothing",
  gives: "rows",
  holds: ({ maxRecord }) => besideBytes + 2 * batchBytes + heldRecord(maxRecord, 12, 8),
  open: (config, ctx) => readQuery(config, ctx),
});

type Context = Pick<StageContext, "signal" | "log" | "lease">;

async function* readQuery(config: MysqlConfig, ctx: Context): AsyncGenerator<RowBatch> {
  const { query, params, maxRecord, timeout: answerMillis, connectTimeout: connectMillis } = config;
  const place = await readMysqlUrl(config.url);
  const session = await openSession({ place, connectMillis, answerMillis }, ctx.signal);
  try {
    const consistency = await beginSnapshot(session, query, ctx.log);
    const statement = await prepare(session, query, params.length);
    const { pressure } = ctx.lease;
    const room = { batchBytes: () => batchBytes * pressure.share, maxRecord };
    let rows = 0;
    let last: RowsOfBatch | undefined;
    const values = await bindValues(params);
    for await (const batch of readRows(session, { statement, values }, room)) {
      last = batch;
      rows += batch.rows.length;
      if (batch.rows.length > 0) yield { shape: "tuples", ...batch };
    }
    await commit(session);
    await session.close();
    const { columns = [] } = last ?? {};
    const end = { rows, consistency, queryDigest: digestQuery("mysql", query) };
    yield { shape: "tuples", columns, rows: [], bytes: 0, end };
  } finally {
    await session.close();
  }
}

/** @throws PipelineError `source-refused` for what is no SELECT, or has not as many `?` as are given */
export async function prepare(session: Session, query: string, given: number): Promise<Statement> {
  const statement = await session.prepare(query);
  if (statement.columns.length === 0)
    throw new PipelineError("source-refused", "expected one SELECT in `query`");
  const wanted = statement.parameters.length;
  if (wanted !== given)
    throw new PipelineError(
      "source-refused",
      `expected as many params as \`?\`: ${wanted}; ${given} given`,
    );
  return statement;
}

/**
 * Rows of one query from PostgreSQL, through a cursor, in one read-only snapshot.
 *
 * takes / gives  nothing / rows: tuples of the server's texts, batches of about `batch` bytes
 * holds          a compiler, and 48 × `batch`: the batch being used, the next one, and a row of 4 × `batch` in every form it takes:
 *                bytes, texts, what row functions make of it, its record. A row as wide as a twelfth of the memory that
 *                the plan gave to nobody, up to 64 MiB, passes too. Without row functions no row is held (`postgres-wire/`).
 * order          the query's own
 * ends           only when the server stated the count of every fetch, the counts agree and COMMIT succeeded; then an
 *                empty batch carries the proof. Arrays, composites and unknown types are JSON, made by the server, but
 *                for a CSV that no row function stands before: there they are what COPY prints.
 * fails          source-unreachable and source-failed (again may help); source-refused, source-bad-data (it will not).
 *                TLS is what `sslmode` in `url` (or PGSSLMODE) says. Where nothing is said, certificate and host name are
 *                verified, but for a server on this machine (loopback, socket), which is reached without TLS.
 */
import { createHash } from "node:crypto";
import * as v from "valibot";
import { boundValue, duration, secret, size, text } from "../atoms.ts";
import type { Column, ResumePoint, RowBatch, SourceEnd } from "../nouns.ts";
import type { Spool } from "../pages/spool-store.ts";
import { defineStage, type StageContext } from "../stage.ts";
import { RowCursor, type RowRoom, type RowsOfBatch } from "./postgres-cursor.ts";
import { createEpochReader, type EpochReader, orderByKey } from "./postgres-epochs.ts";
import { explainSoon } from "./postgres-explain.ts";
import { pushAll, type PushedStep } from "./postgres-join.ts";
import type { RowStep } from "./postgres-pushdown.ts";
import { refuseSlow } from "./postgres-join-proof.ts";
import { type Session, openSession } from "./postgres-session.ts";
import {
  beginSnapshot,
  commit,
  readConsistency,
  readKnownNow,
  refuseRewritten,
} from "./postgres-snapshot.ts";
import { describeQuery, type DescribedQuery } from "./postgres-types.ts";
import { boundByWatermark, type Keeper, watermarkSchema } from "./postgres-watermark.ts";

export const postgresConfig = v.strictObject({
  url: v.pipe(
    secret,
    v.regex(/^postgres(ql)?:\/\//, "expected postgres://user@host:port/database"),
    v.description(
      "connection URL, best as `${env:…}`; TLS is verified unless its `sslmode` says otherwise",
    ),
  ),
  query: v.pipe(text, v.description("one SQL statement that gives rows")),
  params: v.pipe(
    v.optional(v.array(boundValue, "expected a list"), []),
    v.description("values of $1, $2, …; bound, never pasted into the query"),
  ),
  key: v.pipe(
    v.optional(
      v.pipe(
        v.array(text, "expected a list of column names"),
        v.minLength(1, "expected at least one column"),
      ),
    ),
    v.description(
      "columns of one table that are unique and not null together, in the order wanted; `id desc` runs from the last to the first",
    ),
  ),
  resume: v.pipe(
    v.optional(v.picklist(["proof", "epochs"], "expected proof or epochs"), "proof"),
    v.description(
      "how an interrupted export goes on: `proof` runs the query again and compares what is durable · `epochs` orders by `key`, goes on behind the last durable one in a new snapshot, and the manifest says so",
    ),
  ),
  watermark: v.pipe(
    v.optional(watermarkSchema),
    v.description(
      "exports what is new since the last export alone, in the order of `column` and `tiebreak`",
    ),
  ),
  batch: v.pipe(
    v.optional(size, "64KiB"),
    v.description(
      "bytes of rows read at a time where row functions need them, fewer when memory is short; a row may be 4 times as wide, or a twelfth of the memory that the plan leaves free, up to 64MiB",
    ),
  ),
  timeout: v.pipe(
    v.optional(duration, "60s"),
    v.description(
      "longest silence of the server while rows are awaited, the first one included; where it proves to be the network, not the server, the run ends within seconds",
    ),
  ),
  connectTimeout: v.pipe(
    v.optional(duration, "10s"),
    v.description("longest wait for connection and login"),
  ),
  statementTimeout: v.pipe(
    v.optional(duration),
    v.description("longest run of the whole query on the server, pauses included; none by default"),
  ),
});

export type PostgresConfig = v.InferOutput<typeof postgresConfig>;

type Config = PostgresConfig & {
  /** What the plan lets the query do of the row stages that follow. */
  readonly steps?: readonly PushedStep[];
};

const heldBatches = 48;
/** Smaller batches save nothing: the compiler takes the room (a single row in batches of 1 KiB: 2 MiB too much). */
const usualBatchBytes = 64 * 1024;
/** JavaScript's compiler and its code, where rows are made for it: 6 MiB measured (`bench/weight`), of which the batches leave one. */
const compilerBytes = 5 * 2 ** 20;

export const postgres = defineStage({
  name: "postgres",
  summary:
    "Reads the rows of one query from PostgreSQL in one snapshot, as exact as the server prints them.",
  config: postgresConfig,
  takes: "nothing",
  gives: "rows",
  holds: ({ batch }) => compilerBytes + heldBatches * Math.max(batch, usualBatchBytes),
  open: (config, ctx) => readTuples(config, ctx, "json"),
});

/** Reads the rows as tuples; `composites` as for `openQuery`. */
export async function* readTuples(
  config: Config,
  ctx: Pick<StageContext, "signal" | "lease"> & { readonly spool?: Pick<Spool, "point"> },
  composites: "json" | "text",
): AsyncGenerator<RowBatch> {
  const from = config.resume === "epochs" ? ctx.spool?.point : undefined;
  const query = await openQuery(config, ctx.signal, composites, { from, ...keeperOf(config, ctx) });
  try {
    if (from) yield { ...emptyBatch(query.columns), from };
    const { pressure } = ctx.lease;
    const joined = 1 + countLookups(config.steps);
    yield* readRows(query, { batchBytes: config.batch, pressure, joined });
  } finally {
    await query.session.close();
  }
}

/** Where an export of a query begins and ends, but for the query itself. */
export interface QueryBounds {
  /** Where an earlier attempt's pages end, to go on behind them. */
  readonly from?: ResumePoint | undefined;
  /** Where the bounds of a watermark lie. */
  readonly keeper?: Keeper | undefined;
}

/** A run has a spool; who only looks at rows keeps no bounds. */
export const keeperOf = (
  { watermark }: Pick<Config, "watermark">,
  ctx: { readonly spool?: unknown },
): QueryBounds => (watermark && ctx.spool ? { keeper: ctx.spool as Keeper } : {});

/** A query in its snapshot, described and ready to run. */
export interface OpenedQuery extends DescribedQuery {
  readonly session: Session;
  readonly values: readonly (string | null)[];
  readonly expects?: NonNullable<RowBatch["expects"]>;
  /** Where the export may go on behind any row: rows come with their key, which it takes off. */
  readonly epochs?: EpochReader;
  /** Commits and closes; gives the proof that `rows` rows were all. */
  finish(rows: number): Promise<SourceEnd>;
}

/**
 * Connects, takes the snapshot, describes the query. The caller closes the session.
 * @param composites whether arrays, rows and unknown types come as JSON or as the server's text
 */
export async function openQuery(
  config: Omit<Config, "key" | "batch" | "resume" | "watermark"> &
    Partial<Pick<Config, "key" | "resume" | "watermark">>,
  signal: AbortSignal,
  composites: "json" | "text",
  { from, keeper }: QueryBounds = {},
): Promise<OpenedQuery> {
  const { url, connectTimeout: connectMillis, timeout: answerMillis } = config;
  const session = await openSession({ url, connectMillis, answerMillis }, signal);
  try {
    const values = config.params.map((value) => (value === null ? null : String(value)));
    const { steps = [], key = [], resume, watermark } = config;
    const asking = watermark && { ...config, watermark, now: await readKnownNow(session) };
    await beginSnapshot(session, config);
    const plain = { sql: config.query, values };
    const snapshot = await readConsistency(session);
    const range = asking && (await boundByWatermark(session, plain, asking, keeper));
    const consistency = { ...snapshot, proof: { ...snapshot.proof, ...range?.proof } };
    const query = range ?? plain;
    // A plan leaves lookups to JavaScript where rows come by key.
    const byKey = { key, steps: steps as readonly RowStep[], from };
    const keyed = resume === "epochs" ? await orderByKey(session, query, byKey) : undefined;
    const { keyColumns = 0 } = keyed ?? {};
    const asked = keyed ?? (await pushAll(session, query, steps));
    // Row functions have all composites as JSON, so those pushed do too.
    const described = await describeQuery(session, asked.sql, steps[0] ? "json" : composites);
    const columns = described.columns.slice(0, described.columns.length - keyColumns);
    const epochs = keyed && createEpochReader({ columns, keyColumns, consistency, from });
    await refuseRewritten(session);
    const plan = await explainSoon(session, asked.sql, asked.values);
    refuseSlow(plan, countLookups(steps));
    const rows = plan?.["Plan Rows"];
    return {
      ...described,
      columns,
      session,
      values: asked.values,
      ...(rows !== undefined && {
        expects: { rows: rows + (from?.mark.row ?? 0), exact: false },
      }),
      ...(epochs && { epochs }),
      async finish(rows) {
        await refuseRewritten(session);
        await commit(session);
        await session.close();
        const queryDigest = createHash("sha256").update(config.query).digest("hex");
        const end = { rows, consistency, queryDigest };
        return epochs?.end(end) ?? end;
      },
    };
  } catch (error) {
    await session.close();
    throw error;
  }
}

const countLookups = (steps: readonly PushedStep[] = []): number =>
  steps.filter((step) => "lookup" in step).length;

async function* readRows(query: OpenedQuery, room: RowRoom): AsyncGenerator<RowBatch> {
  const { session, columns, epochs } = query;
  const cursor = new RowCursor(session, query, room).start();
  let first: Pick<RowBatch, "expects"> = query.expects ? { expects: query.expects } : {};
  for await (const batch of cursor as AsyncIterable<RowsOfBatch>) {
    yield { shape: "tuples", columns, ...batch, ...epochs?.mark(batch.rows), ...first };
    first = {};
  }
  yield { ...emptyBatch(columns), ...first, end: await query.finish(cursor.received) };
}

const emptyBatch = (columns: readonly Column[]): RowBatch => ({
  shape: "tuples",
  columns,
  rows: [],
  bytes: 0,
});

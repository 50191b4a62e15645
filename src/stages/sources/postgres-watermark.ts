/**
 * What is new since the last export: rows behind the last one of it, in the order of a column and a tiebreak.
 *
 * The upper bound is the last row that this run's snapshot shows and that is settled: no transaction still at work may give
 * an earlier one. It is made durable before the first row is read, so that every attempt reads the same range, and becomes
 * the next run's lower bound with the commit. Bounds are texts, as the server prints and reads them, and lie on the disk
 * sealed: they may be people's data.
 *
 * Settled means: older than `lag` for times; of transactions before the oldest that is at work, for `xid8`; everything for
 * other types, of which a value given before it is committed can come too late.
 */
import { createHash } from "node:crypto";
import * as v from "valibot";
import { PipelineError } from "../../errors.ts";
import { duration, secret, text } from "../atoms.ts";
import type { Spool } from "../pages/spool-store.ts";
import { passwordOf } from "./postgres-client.ts";
import { cellsOf, hasRows, isUnkeyed, textOf, typeNames } from "./postgres-epochs.ts";
import { examineKey, type KeyColumn } from "./postgres-key.ts";
import { hasLimit, readOrigin } from "./postgres-origin.ts";
import { type BoundQuery, mentionsParams, quoteName } from "./postgres-pushdown.ts";
import type { Session } from "./postgres-session.ts";
import { dropSemicolons } from "./postgres-types.ts";
import { type Bounds, openBounds, sealBounds } from "./watermark-bounds.ts";

export const watermarkSchema = v.strictObject({
  column: v.pipe(
    text,
    v.description(
      "column that grows with every change: a time, a number of a sequence, or best an `xid8`; never null",
    ),
  ),
  tiebreak: v.pipe(
    v.optional(text),
    v.description("column that tells rows with equal ones apart; both together are unique"),
  ),
  lag: v.pipe(
    v.optional(duration),
    v.description(
      "for times: rows younger than this wait for the next run, since a transaction at work may still give an earlier one; 5m when absent",
    ),
  ),
  sealedBy: v.pipe(
    v.optional(secret),
    v.description(
      "what seals the bound on the disk, best as `${file:…}`; the password of `url` when absent",
    ),
  ),
});

export type WatermarkConfig = v.InferOutput<typeof watermarkSchema>;

/** A query's range, and what the manifest may say of it. */
export interface Range extends BoundQuery {
  readonly proof: Readonly<Record<string, string | null>>;
}

interface Asked {
  readonly url: string;
  readonly query: string;
  readonly watermark: WatermarkConfig;
  /** From before the snapshot: `readKnownNow`. */
  readonly now: string;
}

/** The part of the spool where they lie. */
export type Keeper = Pick<Spool, "carried" | "readNote" | "writeNote">;

const usualLagMillis = 300_000;

/**
 * The part of `query` that is new, in the order of its watermark.
 * @param keeper where bounds lie; without one, as for a sample, all that is settled is new
 * @throws PipelineError `source-refused` where the server does not vouch for the columns; `config-changed` for a bound that
 * cannot be opened, or is of another query, database or type
 */
export async function boundByWatermark(
  session: Session,
  query: BoundQuery,
  asked: Asked,
  keeper: Keeper | undefined,
): Promise<Range> {
  const { column, tiebreak } = asked.watermark;
  const names = tiebreak === undefined ? [column] : [column, tiebreak];
  if (!mentionsParams(query.sql, query.values.length))
    throw refused("`query` does not mention each of its `params` and no more");
  const { columns, flaw } = await examineKey(session, query.sql, names);
  if (flaw !== undefined) throw refused(`\`watermark\` ${flaw}`);
  if (await hasLimit(session, query))
    throw refused(
      "`query` has a `limit` or `offset`, so that rows beyond it would be in no export",
    );
  const ranged = { ...(await describeRanged(session, query, columns)), now: asked.now };
  const unkeyed = `select from ${ranged.table}\nwhere ${isUnkeyed(columns)}`;
  if (await hasRows(session, { sql: unkeyed, values: query.values }))
    throw refused("`watermark` is null in a row of the query, such as a join makes");
  const bounds = await readBounds(session, ranged, asked, keeper);
  return {
    ...selectRange(ranged, bounds),
    proof: { watermark: names.join(", "), behindRun: keeper?.carried?.runId ?? null },
  };
}

interface Ranged {
  readonly query: BoundQuery;
  readonly columns: readonly KeyColumn[];
  readonly types: readonly string[];
  /** The query as a table with columns by position. */
  readonly table: string;
  readonly outputs: readonly string[];
  readonly origin: readonly unknown[];
  readonly now: string;
}

async function describeRanged(
  session: Session,
  query: BoundQuery,
  columns: readonly KeyColumn[],
): Promise<Omit<Ranged, "now">> {
  const fields = (await session.describe(query.sql)) ?? [];
  const aliases = fields.map((_, index) => `c${index}`).join(", ");
  return {
    query,
    columns,
    types: await typeNames(session, columns),
    table: `(\n${dropSemicolons(query.sql).trimEnd()}\n) as q(${aliases})`,
    outputs: fields.map(({ name }, index) => `q.c${index} as ${quoteName(name)}`),
    origin: await readOrigin(session, fields, columns),
  };
}

async function readBounds(
  session: Session,
  ranged: Ranged,
  { url, query, watermark }: Asked,
  keeper: Keeper | undefined,
): Promise<Bounds> {
  const { column, tiebreak, sealedBy } = watermark;
  const of = createHash("sha256")
    .update(JSON.stringify([query, ranged.query.values, column, tiebreak ?? null, ranged.origin]))
    .digest("hex");
  if (!keeper) return { of, lower: null, upper: await lastRow(session, ranged, watermark, null) };
  const password = sealedBy ?? passwordOf(url) ?? refuseOpen();
  const noted = await keeper.readNote();
  if (noted !== undefined) return openBounds(password, noted, of);
  const carried = keeper.carried && (await openBounds(password, keeper.carried.text, of));
  const lower = carried?.upper ?? null;
  const upper = (await lastRow(session, ranged, watermark, lower)) ?? lower;
  const bounds: Bounds = { of, lower, upper };
  await keeper.writeNote(await sealBounds(password, bounds));
  return bounds;
}

/** The last settled row behind `lower`, by the texts of its columns. */
async function lastRow(
  session: Session,
  ranged: Ranged,
  { lag }: WatermarkConfig,
  lower: Bounds["lower"],
): Promise<readonly string[] | null> {
  const { columns, table, query } = ranged;
  const values = [...query.values];
  const conditions = [...settled(ranged, lag), ...compare(ranged, ">", lower, values)];
  const texts = columns.map(({ index }) => textOf(index));
  const order = columns.map(({ index }) => `q.c${index} desc`);
  const { rows } = await session.ask(
    `select ${texts.join(", ")} from ${table}${whereAll(conditions)} order by ${order.join(", ")} limit 1`,
    values,
  );
  const last = (rows[0] as readonly string[] | undefined) ?? null;
  if (last && endless.has(columns[0]!.oid) && /^(nan|infinity)$/i.test(last[0]!))
    throw refused("`watermark.column` holds NaN or infinity, behind which nothing is ever new");
  return last;
}

/** Types that have a last value: `float4`, `float8`, `numeric`, `interval`. No time is settled that never comes. */
const endless: ReadonlySet<number> = new Set([700, 701, 1700, 1186]);

/** Nobody knows by which wall a column without zone goes: no clock on earth is behind this one. */
const earliestWall = (now: string): string => `(${now} at time zone interval '-12 hours')`;

const xid8 = 5069;

/** By type OID: `timestamptz`, `timestamp`, `date`. */
const pastBefore: Readonly<Record<number, (now: string, lag: string) => string>> = {
  1184: (now, lag) => `<= ${now} - ${lag}`,
  1114: (now, lag) => `<= ${earliestWall(now)} - ${lag}`,
  1082: (now, lag) => `< (${earliestWall(now)} - ${lag})::pg_catalog.date`,
};

function settled({ columns, now }: Ranged, lag: number | undefined): readonly string[] {
  const { index, oid } = columns[0]!;
  const past = pastBefore[oid];
  if (past) {
    const interval = `interval '${lag ?? usualLagMillis} milliseconds'`;
    return [`q.c${index} ${past(`timestamptz '${now}'`, interval)}`];
  }
  if (lag !== undefined) throw refused("`watermark.lag` is for times, and its column is none");
  if (oid !== xid8) return [];
  return [`q.c${index} < pg_catalog.pg_snapshot_xmin(pg_catalog.pg_current_snapshot())`];
}

/** Columns against a bound, as one row; the bound's texts are added to `values`. */
function compare(
  { columns, types }: Ranged,
  sign: string,
  bound: readonly string[] | null,
  values: (string | null)[],
): readonly string[] {
  if (!bound) return [];
  const texts = bound.map((cell, at) => `$${values.push(cell)}::${types[at]}`);
  return [`(${cellsOf(columns, types).join(", ")}) ${sign} (${texts.join(", ")})`];
}

const whereAll = (conditions: readonly string[]): string =>
  conditions.length === 0 ? "" : `\nwhere ${conditions.join("\n  and ")}`;

function selectRange(ranged: Ranged, { lower, upper }: Bounds): BoundQuery {
  const values = [...ranged.query.values];
  const conditions = upper
    ? [...compare(ranged, ">", lower, values), ...compare(ranged, "<=", upper, values)]
    : ["false"];
  const order = ranged.columns.map(({ index }) => `q.c${index}`).join(", ");
  const outputs = ranged.outputs.join(", ");
  return {
    sql: `select ${outputs}\nfrom ${ranged.table}${whereAll(conditions)}\norder by ${order}`,
    values,
  };
}

function refuseOpen(): never {
  throw new PipelineError(
    "config-invalid",
    "postgres: `watermark` keeps its bound in the spool, sealed by the password of `url` or PGPASSWORD, and there is none; expected one, or `sealedBy`",
  );
}

const refused = (what: string): PipelineError =>
  new PipelineError(
    "source-refused",
    `${what}; expected a column that grows and a \`tiebreak\` of the same table, unique together and never null`,
  );

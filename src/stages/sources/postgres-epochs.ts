/**
 * Rows in the order of a key, so that another attempt can go on behind one of them, in a snapshot of its own.
 *
 * The query stays whole, in a subquery that is ordered by the key, and bounded by the last one: what the rows are is not
 * touched. Keys travel as the texts that their types' own functions print and read, in the session settings of every
 * export, so that no digit, microsecond or letter is lost on the way. Each row's key is looked at: one that is null, or
 * equal to the one before, ends the run, since behind such a row nobody could go on. A bound lets no null pass, so the
 * server is asked for them before a run goes on.
 */
import { createHash } from "node:crypto";
import { PipelineError } from "../../errors.ts";
import type { Column, Consistency, Epoch, Mark, ResumePoint, SourceEnd, Tuple } from "../nouns.ts";
import { examineKey, type KeyColumn } from "./postgres-key.ts";
import {
  type BoundQuery,
  mentionsParams,
  pushSteps,
  quoteName,
  type RowStep,
} from "./postgres-pushdown.ts";
import type { Session } from "./postgres-session.ts";
import { dropSemicolons } from "./postgres-types.ts";

/** A query whose last columns are the texts of the key. */
export interface KeyedQuery extends BoundQuery {
  readonly keyColumns: number;
}

interface ByKey {
  readonly key: readonly string[];
  /** What the query does of the row stages. */
  readonly steps: readonly RowStep[];
  readonly from: ResumePoint | undefined;
}

/**
 * Orders `query` by `key`, from behind `from` on, and puts `steps` into it.
 * @throws PipelineError `source-refused` where the server does not vouch for the key, or has rows without one
 */
export async function orderByKey(
  session: Session,
  query: BoundQuery,
  { key, steps, from }: ByKey,
): Promise<KeyedQuery> {
  if (!mentionsParams(query.sql, query.values.length))
    throw refused("`query` does not mention each of its `params` and no more");
  const { columns, flaw } = await examineKey(session, query.sql, key);
  if (flaw !== undefined) throw refused(`\`key\` ${flaw}`);
  const fields = (await session.describe(query.sql)) ?? [];
  const types = await typeNames(session, columns);
  const names = fields.map((_, index) => `c${index}`);
  const outputs = [
    ...fields.map(({ name }, index) => `q.c${index} as ${quoteName(name)}`),
    ...columns.map(({ index }, i) => `${textOf(index)} as "key ${i + 1} of spillway"`),
  ];
  const order = columns.map(({ index, descending }) => `q.c${index}${descending ? " desc" : ""}`);
  const all = `select ${outputs.join(", ")}\nfrom (\n${dropSemicolons(query.sql).trimEnd()}\n) as q(${names.join(", ")})`;
  const push = (where: string, values: readonly (string | null)[]) => {
    const sql = `${all}${where}\norder by ${order.join(", ")}`;
    return pushSteps(session, { sql, values }, steps, columns.length);
  };
  const values = [...query.values];
  const bounds = from?.mark.key.map((text, i) => `$${values.push(text)}::${types[i]}`);
  if (bounds && (await hasRows(session, await push(`\nwhere ${isUnkeyed(columns)}`, query.values))))
    throw refused("the query has a row whose `key` is null, such as a join makes");
  const behind = bounds && isBehind(columns, cellsOf(columns, types), bounds);
  const asked = await push(behind ? `\nwhere ${behind}` : "", values);
  return { ...asked, keyColumns: columns.length };
}

/** As `textOf` sees it: of a composite value `is null` is something else. */
export const isUnkeyed = (columns: readonly KeyColumn[]): string =>
  columns.map(({ index }) => `not (q.c${index} is not null)`).join(" or ");

/** Asked for apart from all others, rows without a key keep no index from answering a bound. */
export async function hasRows(session: Session, { sql, values }: BoundQuery): Promise<boolean> {
  const { rows } = await session.ask(`select exists (${sql}\n)::text`, values);
  return rows[0]?.[0] !== "false";
}

/** What its type's output function prints; of NULL `format` would make an empty text. */
export const textOf = (index: number): string =>
  `case when q.c${index} is not null then pg_catalog.format('%s', q.c${index}) end`;

export async function typeNames(
  session: Session,
  columns: readonly KeyColumn[],
): Promise<readonly string[]> {
  const outputs = columns.map(({ oid }) => `pg_catalog.format_type(${oid}, -1)`);
  const { rows } = await session.ask(`select ${outputs.join(", ")}`);
  return rows[0]!.map(String);
}

/** As the types that bounds are read by: of a domain over an enum there are no comparisons with any other. */
export const cellsOf = (columns: readonly KeyColumn[], types: readonly string[]): string[] =>
  columns.map(({ index }, at) => `q.c${index}::${types[at]}`);

/** One comparison of rows where all columns run the same way, which an index can answer; otherwise one for each column. */
function isBehind(
  columns: readonly KeyColumn[],
  cells: readonly string[],
  bounds: readonly string[],
): string {
  const signs = columns.map(({ descending }) => (descending ? "<" : ">"));
  if (signs.every((sign) => sign === signs[0]))
    return `(${cells.join(", ")}) ${signs[0]} (${bounds.join(", ")})`;
  const cases = columns.map((_, last) => {
    const equal = cells.slice(0, last).map((cell, i) => `${cell} = ${bounds[i]}`);
    return [...equal, `${cells[last]} ${signs[last]} ${bounds[last]}`].join(" and ");
  });
  return `${cells[0]} ${signs[0]}= ${bounds[0]} and (${cases.join(" or ")})`;
}

const refused = (what: string): PipelineError =>
  new PipelineError(
    "source-refused",
    `${what}; expected a key by which rows can be told apart and ordered, or \`resume: proof\``,
  );

/** What goes on from row to row and from attempt to attempt. */
export interface EpochReader {
  /** Takes the key off rows, and marks them. */
  mark(rows: readonly Tuple[]): {
    readonly rows: readonly Tuple[];
    readonly marks: readonly Mark[];
  };
  /** The proof of all epochs, this one included, once it is known that `rows` rows were all of it. */
  end(end: SourceEnd): SourceEnd;
}

export interface Reading {
  /** Of the rows, the key's own left out. */
  readonly columns: readonly Column[];
  readonly keyColumns: number;
  /** Of this attempt alone. */
  readonly consistency: Consistency;
  readonly from: ResumePoint | undefined;
}

/** @throws PipelineError `source-changed` when the columns are others than in the attempt before */
export function createEpochReader({
  columns,
  keyColumns,
  consistency,
  from,
}: Reading): EpochReader {
  const digest = createHash("sha256").update(JSON.stringify(columns)).digest("hex");
  if (from && from.mark.reading.columns !== digest) throw otherColumns();
  const firstRow = (from?.mark.row ?? 0) + 1;
  const epoch: Epoch = { firstPage: from ? from.page + 1 : 0, firstRow, proof: consistency.proof };
  const epochs = [...(from?.mark.reading.epochs ?? []), epoch];
  const reading = { columns: digest, epochs };
  const before = firstRow - 1;
  let last = from?.mark;
  const markRow = (row: Tuple): Mark => {
    const key = row.slice(-keyColumns) as readonly (string | null)[];
    if (!isWhole(key) || key.every((text, i) => text === last?.key[i]))
      throw notUnique(last?.row ?? before);
    last = { row: (last?.row ?? before) + 1, key, reading };
    return last;
  };
  return {
    mark: (rows) => ({
      marks: rows.map(markRow),
      rows: rows.map((row) => row.slice(0, -keyColumns)),
    }),
    end: ({ rows, ...end }) => ({
      ...end,
      rows: before + rows,
      consistency: epochs.length === 1 ? end.consistency : joined(epochs, before + rows),
    }),
  };
}

const isWhole = (key: readonly (string | null)[]): key is readonly string[] =>
  key.every((text) => text !== null);

/** Each epoch's pages, rows and proof, under names with its number. */
function joined(epochs: readonly Epoch[], rows: number): Consistency {
  const proof: Record<string, string | number | boolean | null> = { epochs: epochs.length };
  for (const [i, epoch] of epochs.entries()) {
    const end = epochs[i + 1]?.firstRow ?? rows + 1;
    const facts = { firstPage: epoch.firstPage, rows: end - epoch.firstRow, ...epoch.proof };
    for (const [name, fact] of Object.entries(facts)) proof[`epoch${i + 1}.${name}`] = fact;
  }
  return { class: "epochs", proof };
}

const otherColumns = (): PipelineError =>
  new PipelineError(
    "source-changed",
    "the query gives other columns than in the attempt before; restore them to go on, or discard the unfinished run with --restart",
  );

const notUnique = (row: number): PipelineError =>
  new PipelineError(
    "source-refused",
    `the row behind row ${row} has a \`key\` that is null or that of the row before it, such as a join makes; expected one that tells every row of the query from all others, or \`resume: proof\``,
    { details: { rows: row } },
  );

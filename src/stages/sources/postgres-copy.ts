/**
 * One query in a COPY format of PostgreSQL's own, byte for byte as the server prints it, in one read-only snapshot.
 *
 * takes / gives  nothing / records: one a row; header and trailer of the format are framing. All pages, one after the
 *                other, are a file that `COPY … FROM` reads.
 * holds          a compiler, the output (a page at least), a read of the socket, a message that is no row. A row of any
 *                size the server can send passes in parts.
 * order          the query's own
 * ends           only when the server's command tag states the rows that came and COMMIT succeeded
 * fails          as `postgres` does; source-refused also for a statement that COPY does not take
 */
import * as v from "valibot";
import { PipelineError } from "../../errors.ts";
import {
  csvOptions,
  dialectOf,
  refuseClashes,
  refuseUnlessCsv,
  type CsvDialect,
} from "../formats/csv-dialect.ts";
import type { RecordBatch } from "../nouns.ts";
import { defineStage, type StageContext } from "../stage.ts";
import { CopyWalker, type CopyHeader } from "./postgres-copy/copy-walker.ts";
import { openQuery, postgresConfig } from "./postgres.ts";
import { dropSemicolons } from "./postgres-types.ts";
import { framing, outputBytes, takeBatches } from "./postgres-wire/wire-batches.ts";
import { WireQuery } from "./postgres-wire/wire-query.ts";

interface CopyFormat {
  readonly extension: string;
  /** As COPY wants to be told. */
  readonly options: string;
  readonly header: CopyHeader;
}

function formatOf(config: CopyConfig): CopyFormat {
  if (config.format === "text")
    return { extension: "pgtext", options: "format text", header: "none" };
  if (config.format === "binary")
    return { extension: "pgbinary", options: "format binary", header: "binary" };
  const dialect = dialectOf(config);
  return {
    extension: "csv",
    options: printOptions(dialect),
    header: dialect.header ? "line" : "none",
  };
}

function printOptions({ delimiter, quote, header, null: none, quoteAll }: CsvDialect): string {
  const force = quoteAll ? ", force_quote *" : "";
  return `format csv, header ${header}, delimiter ${literal(delimiter)}, quote ${literal(quote)}, null ${literal(none)}${force}`;
}

/** A text in SQL, whatever the server's settings make of a backslash. */
const literal = (text: string): string =>
  `E'${text.replaceAll("\\", "\\\\").replaceAll("'", "''")}'`;

const { url, query, params, timeout, connectTimeout, statementTimeout } = postgresConfig.entries;

const { delimiter, quote, header, null: none, quoteAll } = csvOptions;

const fields = v.strictObject({
  url,
  query,
  format: v.pipe(
    v.picklist(["csv", "text", "binary"], "expected csv, text or binary"),
    v.description("as `COPY … TO` makes it: `csv` with a header line · `text` · `binary`"),
  ),
  delimiter,
  quote,
  header,
  null: none,
  quoteAll,
  params: v.pipe(
    params,
    v.empty(
      "COPY takes no parameters, and values are never pasted into a query; expected `postgres` and `serialize` for a query that needs them",
    ),
    v.description("must be empty: COPY takes no values of $1, $2, …"),
  ),
  timeout,
  connectTimeout,
  statementTimeout,
});

const copyConfig = v.pipe(
  fields,
  refuseUnlessCsv<v.InferOutput<typeof fields>>(),
  refuseClashes<v.InferOutput<typeof fields>>(),
);

type CopyConfig = v.InferOutput<typeof copyConfig>;

/** What is held of a message, the ends of rows, the inlet. */
const besideBytes = 1.75 * 1024 * 1024;
/** JavaScript's compiler and its code, which walk the rows: 8 MiB measured above what the rest of the ledger says. */
const compilerBytes = 8 * 1024 * 1024;
/** Where no plan says how long a page is. */
const usualPageBytes = 1024 * 1024;

export const postgresCopy = defineStage({
  name: "postgres-copy",
  summary:
    "Reads one query from PostgreSQL in a format of its own, as fast as the server sends it; no `serialize` follows.",
  config: copyConfig,
  takes: "nothing",
  gives: "records",
  holds: (_config, pageBytes) => outputBytes(pageBytes) + besideBytes + compilerBytes,
  open: (config, ctx) => readCopy(config, usualPageBytes, ctx),
});

/** Reads the query's rows as COPY prints them, in the order and number the server states. */
export async function* readCopy(
  config: CopyConfig,
  pageBytes: number,
  ctx: Pick<StageContext, "signal">,
): AsyncGenerator<RecordBatch> {
  const { extension, options, header } = formatOf(config);
  const opened = await openQuery(config, ctx.signal, "text");
  const { session, columns, expects } = opened;
  const shared = { columns, extension };
  try {
    yield { ...framing(new Uint8Array(0)), ...shared, ...(expects && { expects }) };
    const sql = `copy (${dropSemicolons(config.query)}\n) to stdout (${options})`;
    const copy = new WireQuery(
      session,
      { sql, values: [], isBinary: [] },
      (onMessage) => new CopyWalker(header, outputBytes(pageBytes), onMessage),
    );
    const { walker } = copy;
    let begun = false;
    for await (const batch of takeBatches(copy, shared)) {
      if (!begun) yield { ...framing(walker.header), ...shared };
      begun = true;
      yield batch;
    }
    const end = await opened.finish(walker.output.records);
    yield { ...framing(walker.trailer), ...shared, end };
  } catch (error) {
    throw explainCopy(error);
  } finally {
    await session.close();
  }
}

/** What the server minds in a query that it understood when it stood alone; a place in it would be one in our COPY. */
const refusals: Readonly<Record<string, string>> = {
  "42601": "`query` is no statement that COPY takes; expected a select",
  "42P02": "`query` has a parameter; expected none, since COPY takes no values for it",
  "42883":
    "a function that `query` needs is not there, or one of its types has no binary form; expected `format: text` or `csv` for such a type",
};

function explainCopy(error: unknown): unknown {
  if (!(error instanceof PipelineError)) return error;
  const { sqlstate } = error.details;
  const refusal = refusals[String(sqlstate)];
  if (refusal === undefined || sqlstate === undefined) return error;
  return new PipelineError("source-refused", `${refusal} (SQLSTATE ${sqlstate})`, {
    details: { sqlstate },
  });
}

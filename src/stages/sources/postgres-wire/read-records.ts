/**
 * Records straight from PostgreSQL: what `postgres` and `serialize` do together when nobody needs the rows.
 *
 * holds: the output (a page at least), room behind it for one short value, that value as it came, and a read of the socket.
 * A value of any size the server can send passes in parts.
 */
import { dialectOf, type CsvOptions } from "../../formats/csv-dialect.ts";
import type { RecordBatch } from "../../nouns.ts";
import type { StageContext } from "../../stage.ts";
import { keeperOf, openQuery, type PostgresConfig } from "../postgres.ts";
import { recordLayouts } from "./record-layouts.ts";
import { RowWalker } from "./data-rows.ts";
import { isBinaryKind } from "./value-kinds.ts";
import { framing, outputBytes, takeBatches } from "./wire-batches.ts";
import { WireQuery } from "./wire-query.ts";

/** A short value of CSV, doubled when all of it is quotes; ends of records; what is held of a message; the inlet. */
const besideBytes = 2.25 * 1024 * 1024;

/** V8's compiler for WebAssembly, pages of the program's file that nobody else needs. */
const compilerBytes = 5 * 1024 * 1024;

export const holdsOfRecords = (pageBytes: number): number =>
  outputBytes(pageBytes) + besideBytes + compilerBytes;

/** As `serialize` is configured. */
interface Records extends CsvOptions {
  readonly format: string;
}

/** Reads the query's rows as records, in the order and number the server states. */
export async function* readRecords(
  config: PostgresConfig,
  records: Records,
  pageBytes: number,
  ctx: Pick<StageContext, "signal"> & { readonly spool?: unknown },
): AsyncGenerator<RecordBatch> {
  const { format } = records;
  const opened = await openQuery(
    config,
    ctx.signal,
    format === "csv" ? "text" : "json",
    keeperOf(config, ctx),
  );
  const { session, columns } = opened;
  try {
    const typed = columns.map((column, index) => ({ ...column, oid: opened.oids[index]! }));
    const layout = recordLayouts[format]!(typed, dialectOf(records));
    const shared = { columns, extension: layout.extension };
    const { expects } = opened;
    yield { ...framing(layout.header), ...shared, ...(expects && { expects }) };
    const isBinary = layout.columns.map(({ kind }) => isBinaryKind(kind));
    const query = new WireQuery(
      session,
      { ...opened, isBinary },
      (onMessage) => new RowWalker(layout, outputBytes(pageBytes), onMessage),
    );
    yield* takeBatches(query, shared);
    const end = await opened.finish(query.walker.output.records);
    yield { ...framing(layout.footer), ...shared, end };
  } finally {
    await session.close();
  }
}

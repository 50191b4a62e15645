/**
 * Records straight from PostgreSQL: what `postgres` and `serialize` do together when nobody needs the rows.
 *
 * holds: the output (a page at least), room behind it for one short value, that value as it came, and two reads of a
 * socket. A value of any size the server can send passes in parts.
 */
import type { InferOutput } from "valibot";
import { assert } from "../../../errors.ts";
import type { RecordBatch } from "../../nouns.ts";
import type { StageContext } from "../../stage.ts";
import { openQuery, type postgresConfig } from "../postgres.ts";
import { recordLayouts } from "./record-layouts.ts";
import { RowWalker } from "./data-rows.ts";
import { isBinaryKind } from "./value-kinds.ts";
import { WireQuery } from "./wire-query.ts";

const leastOutputBytes = 512 * 1024;

/** Bytes of output: a page at least, so that only a larger record is handed over in parts. */
const outputBytes = (pageBytes: number): number => Math.max(leastOutputBytes, pageBytes);

/** A short value of CSV, doubled when all of it is quotes; ends of records; what is held of a message; the inlet. */
const besideBytes = 2.25 * 1024 * 1024;

/** V8's compiler for WebAssembly, pages of the program's file that nobody else needs. */
const compilerBytes = 5 * 1024 * 1024;

export const holdsOfRecords = (pageBytes: number): number =>
  outputBytes(pageBytes) + besideBytes + compilerBytes;

/** Reads the query's rows as records of `format`, in the order and number the server states. */
export async function* readRecords(
  config: InferOutput<typeof postgresConfig>,
  format: string,
  pageBytes: number,
  ctx: Pick<StageContext, "signal">,
): AsyncGenerator<RecordBatch> {
  const opened = await openQuery(config, ctx.signal, format === "csv" ? "text" : "json");
  const { session, columns } = opened;
  try {
    const typed = columns.map((column, index) => ({ ...column, oid: opened.oids[index]! }));
    const layout = recordLayouts[format]!(typed);
    const shared = { columns, extension: layout.extension };
    const { expects } = opened;
    yield { ...framing(layout.header), ...shared, ...(expects && { expects }) };
    const isBinary = layout.columns.map(({ kind }) => isBinaryKind(kind));
    const query = new WireQuery(
      session,
      { ...opened, isBinary },
      (onMessage) => new RowWalker(layout, outputBytes(pageBytes), onMessage),
    );
    const { output } = query.walker;
    try {
      for (let more = true; more;) {
        more = await query.next();
        yield { bytes: output.takeable, ends: output.ends, framing: false, ...shared };
        output.take();
      }
      assert(output.length === 0, "a query ends with a whole record");
    } finally {
      query.release();
    }
    const end = await opened.finish(output.records);
    yield { ...framing(layout.footer), ...shared, end };
  } finally {
    await session.close();
  }
}

const framing = (bytes: Uint8Array) => ({
  bytes,
  ends: bytes.length > 0 ? [bytes.length] : [],
  framing: true,
});

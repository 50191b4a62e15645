/**
 * Records straight from PostgreSQL: what `postgres` and `serialize` do together when nobody needs the rows.
 *
 * holds: the output (a page at least), room behind it for one short value, that value as it came, and two reads of a
 * socket. A value of any size the server can send passes in parts.
 */
import type { InferOutput } from "valibot";
import type { Column, RecordBatch } from "../../nouns.ts";
import type { StageContext } from "../../stage.ts";
import { openQuery, type postgresConfig } from "../postgres.ts";
import { RowWalker } from "./data-rows.ts";
import type { RecordLayout } from "./record-writer.ts";
import { WireQuery } from "./wire-query.ts";
import { csvLayout } from "./write-csv.ts";
import { jsonLayout, ndjsonLayout } from "./write-json.ts";

/** How each format of `serialize` lays out records of these columns. */
export const recordLayouts: Readonly<Record<string, (columns: readonly Column[]) => RecordLayout>> =
  { ndjson: ndjsonLayout, json: jsonLayout, csv: csvLayout };

const leastOutputBytes = 512 * 1024;

/** Bytes of output: a page at least, so that only a larger record is handed over in parts. */
const outputBytes = (pageBytes: number): number => Math.max(leastOutputBytes, pageBytes);

/** A short value of CSV: itself, and doubled when all of it is quotes; the reads. */
const besideBytes = 1024 * 1024;

export const holdsOfRecords = (pageBytes: number): number => outputBytes(pageBytes) + besideBytes;

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
    const layout = recordLayouts[format]!(columns);
    const shared = { columns, extension: layout.extension };
    const { expects } = opened;
    yield { ...framing(layout.header), ...shared, ...(expects && { expects }) };
    const query = new WireQuery(
      session,
      opened,
      (onMessage) => new RowWalker(layout, outputBytes(pageBytes), onMessage),
    );
    const { output } = query.walker;
    try {
      for (let more = true; more;) {
        more = await query.next();
        // No Buffer: its `slice` would not copy, and copying is how a batch is kept.
        const bytes = new Uint8Array(output.bytes.buffer, 0, output.takeable);
        const ends = output.ends.subarray(0, output.endCount);
        yield { bytes, ends, framing: false, ...shared };
        output.take();
      }
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

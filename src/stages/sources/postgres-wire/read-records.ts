/**
 * Records straight from PostgreSQL: what `postgres` and `serialize` do together when nobody needs the rows.
 *
 * holds: the output (a page and a half at least) and two reads of a socket. A value of any size the server can send
 * passes in parts.
 */
import type { InferOutput } from "valibot";
import type { RecordBatch } from "../../nouns.ts";
import type { StageContext } from "../../stage.ts";
import { openQuery, type postgresConfig } from "../postgres.ts";
import { createRowWalker, type RowWalker } from "./data-rows.ts";
import { recordLayouts } from "./record-writer.ts";
import { startWireQuery } from "./wire-query.ts";

const leastOutputBytes = 512 * 1024;

/** Bytes of output: a page at least, so that only a larger record is handed over in parts. */
const outputBytes = (pageBytes: number): number => Math.max(leastOutputBytes, pageBytes);

export const holdsOfRecords = (pageBytes: number): number => 2 * outputBytes(pageBytes);

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
    const query = startWireQuery(session, opened, (onMessage) =>
      createRowWalker(layout, outputBytes(pageBytes), onMessage),
    );
    try {
      for (let more = true; more;) {
        more = await query.next();
        const batch = take(query.walker, more);
        yield { ...batch, framing: false, ...shared };
        query.walker.reset(batch.bytes.length);
      }
    } finally {
      query.release();
    }
    const end = await opened.finish(query.walker.rows);
    yield { ...framing(layout.footer), ...shared, end };
  } finally {
    await session.close();
  }
}

/** Whole records; of a record that alone fills the output, what there is of it. */
function take(walker: RowWalker, more: boolean): Pick<RecordBatch, "bytes" | "ends"> {
  const { out, ends, endCount } = walker;
  const taken = endCount > 0 || !more ? (ends[endCount - 1] ?? 0) : out.length;
  return { bytes: out.bytes.subarray(0, taken), ends: ends.subarray(0, endCount) };
}

const framing = (bytes: Uint8Array) => ({
  bytes,
  ends: bytes.length > 0 ? [bytes.length] : [],
  framing: true,
});

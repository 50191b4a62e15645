/** The first rows of a source, for trying a pipeline out: after them the source is closed and its proof is our own. */
import type { RecordBatch, RowBatch, SourceEnd } from "../stages/nouns.ts";

type Batch = RowBatch | RecordBatch;

/** Gives `most` rows or records; fewer where the source ends before, then with the source's own proof. */
export async function* firstRows(batches: AsyncIterable<unknown>, most: number): AsyncGenerator {
  let left = most;
  for await (const given of batches) {
    const batch = given as Batch;
    const rows = "shape" in batch ? batch.rows.length : batch.framing ? 0 : batch.ends.length;
    if (rows < left || batch.end) {
      left -= rows;
      yield batch;
      continue;
    }
    yield { ...cut(batch, left), expects: { rows: most, exact: true }, end: endAfter(most) };
    return;
  }
}

function cut(batch: Batch, rows: number): Batch {
  if ("shape" in batch) return { ...batch, rows: batch.rows.slice(0, rows) } as RowBatch;
  const ends = Array.from(batch.ends).slice(0, rows);
  return { ...batch, ends, bytes: batch.bytes.subarray(0, ends.at(-1) ?? 0) };
}

/** Not the source's: it was not asked to its end. */
const endAfter = (rows: number): SourceEnd => ({
  rows,
  consistency: { class: "stream", proof: { sample: true } },
  queryDigest: "0".repeat(64),
});

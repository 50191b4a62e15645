/** What a walker makes of an answer, as batches: one whenever its output is full, and one at the end. */
import { assert } from "../../../errors.ts";
import type { RecordBatch } from "../../nouns.ts";
import type { Walker, WireQuery } from "./wire-query.ts";

/** What all batches of one answer have in common. */
export type BatchFacts = Pick<RecordBatch, "columns" | "extension">;

const leastOutputBytes = 512 * 1024;

/** Bytes of output: a page at least, so that only a larger record is handed over in parts. */
export const outputBytes = (pageBytes: number): number => Math.max(leastOutputBytes, pageBytes);

/** What stands before, between or behind records. */
export const framing = (bytes: Uint8Array) => ({
  bytes,
  ends: bytes.length > 0 ? [bytes.length] : [],
  framing: true,
});

/** Reads the answer to its end, and lets go of the connection. A batch is valid until the next one is asked for. */
export async function* takeBatches(
  query: WireQuery<Walker>,
  facts: BatchFacts,
): AsyncGenerator<RecordBatch> {
  const { output } = query.walker;
  try {
    for (let more = true; more;) {
      more = await query.next();
      yield { bytes: output.takeable, ends: output.ends, framing: false, ...facts };
      output.take();
    }
    assert(output.length === 0, "a query ends with a whole record");
  } finally {
    query.release();
  }
}

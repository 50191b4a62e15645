/** Rows that functions made, gathered into batches again. */
import { PipelineError } from "../../errors.ts";
import type { Mark, Row, RowBatch } from "../nouns.ts";

/** About so much of rows leaves together; more would outlive V8's young generation and be slower. */
const batchBytes = 64 * 1024;

export interface Batches {
  /** @param mark of the source's row that it was made of, where the source marks its rows */
  add(row: unknown, mark?: Mark): void;
  readonly isFull: boolean;
  /** There is something to give: rows, or what only this batch carries. */
  readonly isDue: boolean;
  take(): RowBatch;
  takeLast(): RowBatch;
}

/** Rows made from one batch, in batches of about the usual size. */
export function createBatches(
  { columns, end, expects, from, marks: given }: RowBatch,
  stage: string,
): Batches {
  let rows: Row[] = [];
  let marks: Mark[] = [];
  let bytes = 0;
  const take = (): RowBatch => {
    const batch = { shape: "documents", columns, rows, bytes, ...(given && { marks }) } as const;
    [rows, marks, bytes] = [[], [], 0];
    return batch;
  };
  return {
    add(row, mark) {
      refuseOther(row, stage);
      rows.push(row);
      if (mark) marks.push(mark);
      bytes += roughBytes(row);
    },
    get isFull() {
      return bytes >= batchBytes;
    },
    get isDue() {
      return rows.length > 0 || [end, expects, from].some((one) => one !== undefined);
    },
    take,
    takeLast: () => ({
      ...take(),
      ...(expects && { expects }),
      ...(from && { from }),
      ...(end && { end }),
    }),
  };
}

function refuseOther(row: unknown, stage: string): asserts row is Row {
  // A stream that is not in object mode gives bytes.
  const list = Array.isArray(row) ? "an array" : ArrayBuffer.isView(row) && "bytes";
  if (typeof row === "object" && row !== null && !list) return;
  throw new PipelineError(
    "transform-failed",
    `${stage}: the function gave ${list || `a ${typeof row}`}; expected a row (an object), null to drop it, or many([…])`,
  );
}

/** About how much memory a row takes: its texts, and a little for everything else. */
function roughBytes(row: Row): number {
  let bytes = 64;
  for (const key in row) {
    const value = row[key];
    bytes +=
      typeof value === "string" ? value.length + 16 : typeof value === "object" && value ? 256 : 16;
  }
  return bytes;
}

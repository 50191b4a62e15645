/**
 * Walks the bytes of a socket: DataRow messages become records in place, every other message is handed on whole.
 * Source: https://www.postgresql.org/docs/current/protocol-message-formats.html
 */
import { PipelineError } from "../../errors.ts";
import { append, type Output, type RecordLayout } from "./record-writer.ts";

export interface RowWalker {
  /**
   * Takes in `chunk` from `at` on. Gives where it stopped: the chunk's end, or before it when the output is full and
   * must be taken first.
   */
  walk(chunk: Buffer, at: number): number;
  /** Records written whole so far, in all. */
  readonly rows: number;
  /** What has been written since the last `reset`, and where records end in it. */
  readonly out: Output;
  readonly ends: Uint32Array;
  readonly endCount: number;
  /** The output was taken: keeps nothing, or what was not taken of a record under way. */
  reset(takenBytes: number): void;
}

const dataRow = 0x44;
const headBytes = 5;
const nullLength = 0xffffffff;

/** A byte may become six (`\u001f`), and a value has quotes and a key around it. */
const growth = 6;
const slackBytes = 64;

/**
 * @param capacity bytes of output; at least a page, so that only a record larger than a page is ever taken in parts
 * @param onMessage gets every message that is no DataRow, whole, with its head
 */
export function createRowWalker(
  layout: RecordLayout,
  capacity: number,
  onMessage: (message: Buffer) => void,
): RowWalker {
  const { columns } = layout;
  const keyBytes = columns.reduce(
    (sum, { before, none }) => sum + before.length + none.length + slackBytes,
    64,
  );
  const out: Output = {
    bytes: Buffer.allocUnsafeSlow(capacity + keyBytes + slackBytes),
    length: 0,
  };
  const full = out.bytes.length;
  let ends = new Uint32Array(4096);
  let endCount = 0;
  let rows = 0;

  // Where in a message we are, when it does not lie whole in one chunk.
  let gathering: Buffer | undefined;
  let gathered = 0;
  let row:
    | { column: number; left: number; lengthBytes: number; length: number; counted: boolean }
    | undefined;

  const beginRecord = () => {
    if (rows > 0) append(out, layout.between);
  };
  const endRecord = () => {
    append(out, layout.after);
    if (endCount === ends.length) {
      const more = new Uint32Array(ends.length * 2);
      more.set(ends);
      ends = more;
    }
    ends[endCount] = out.length;
    endCount += 1;
    rows += 1;
  };

  /** A row that lies whole in the chunk and surely fits the output. */
  const writeRow = (chunk: Buffer, start: number): void => {
    refuseOtherCount((chunk[start]! << 8) | chunk[start + 1]!, columns.length);
    let at = start + 2;
    beginRecord();
    for (let i = 0; i < columns.length; i += 1) {
      const column = columns[i]!;
      const length =
        ((chunk[at]! << 24) | (chunk[at + 1]! << 16) | (chunk[at + 2]! << 8) | chunk[at + 3]!) >>>
        0;
      at += 4;
      append(out, column.before);
      if (length === nullLength) append(out, column.none);
      else {
        column.whole(out, chunk, at, at + length);
        at += length;
      }
    }
    endRecord();
  };

  /** Goes on with a row in parts as far as chunk and room allow; gives the new position. */
  const continueRow = (chunk: Buffer, start: number): number => {
    const state = row!;
    let at = start;
    for (;;) {
      if (
        full - out.length <
        slackBytes * 2 + (columns[state.column]?.before.length ?? 0) + layout.after.length
      )
        return at;
      if (state.counted && state.column === columns.length) {
        endRecord();
        row = undefined;
        return at;
      }
      if (at === chunk.length) return at;
      if (state.left === 0) at = readLength(state, chunk, at);
      else at = writePart(state, chunk, at);
    }
  };

  const readLength = (state: NonNullable<typeof row>, chunk: Buffer, start: number): number => {
    let at = start;
    const wanted = state.counted ? 4 : 2;
    while (state.lengthBytes < wanted && at < chunk.length) {
      state.length = ((state.length << 8) | chunk[at]!) >>> 0;
      state.lengthBytes += 1;
      at += 1;
    }
    if (state.lengthBytes < wanted) return at;
    const { length } = state;
    state.length = 0;
    state.lengthBytes = 0;
    if (!state.counted) {
      refuseOtherCount(length, columns.length);
      state.counted = true;
      return at;
    }
    const column = columns[state.column]!;
    append(out, column.before);
    if (length === nullLength) {
      append(out, column.none);
      state.column += 1;
      return at;
    }
    column.begin(out, length);
    state.left = length;
    if (length === 0) endValue(state);
    return at;
  };

  const writePart = (state: NonNullable<typeof row>, chunk: Buffer, at: number): number => {
    const room = Math.floor((full - out.length - slackBytes) / growth);
    const part = Math.min(state.left, chunk.length - at, room);
    columns[state.column]!.part(out, chunk, at, at + part);
    state.left -= part;
    if (state.left === 0) endValue(state);
    return at + part;
  };

  const endValue = (state: NonNullable<typeof row>) => {
    columns[state.column]!.end(out);
    state.column += 1;
  };

  /** A message's head, or a whole message that is no DataRow, put together from chunks. */
  const gather = (
    chunk: Buffer,
    at: number,
    bytes: number,
  ): { at: number; message: Buffer | undefined } => {
    if (!gathering || gathering.length < bytes) {
      const larger = Buffer.allocUnsafeSlow(bytes);
      gathering?.copy(larger, 0, 0, gathered);
      gathering = larger;
    }
    const taken = chunk.copy(
      gathering,
      gathered,
      at,
      Math.min(chunk.length, at + bytes - gathered),
    );
    gathered += taken;
    const message = gathered === bytes ? gathering : undefined;
    return { at: at + taken, message };
  };
  const forget = () => {
    gathering = undefined;
    gathered = 0;
  };
  const beginRow = () => {
    forget();
    beginRecord();
    row = { column: 0, left: 0, lengthBytes: 0, length: 0, counted: false };
  };

  /** Takes in one message or what the chunk holds of it; gives the new position, or the same when the output is full. */
  const step = (chunk: Buffer, start: number): number => {
    if (!gathering && chunk.length - start >= headBytes) {
      const length = 1 + chunk.readUInt32BE(start + 1);
      const end = start + length;
      if (chunk[start] === dataRow) {
        const most = length * growth + keyBytes;
        if (end <= chunk.length && most <= full) {
          if (most > full - out.length) return start;
          writeRow(chunk, start + headBytes);
          return end;
        }
        if (endCount > 0 && full - out.length < capacity / 2) return start;
        beginRow();
        return start + headBytes;
      }
      if (end <= chunk.length) {
        onMessage(chunk.subarray(start, end));
        return end;
      }
    }
    const head = gathered >= headBytes ? undefined : gather(chunk, start, headBytes);
    const at = head?.at ?? start;
    if (gathered < headBytes) return at;
    if (gathering![0] === dataRow) {
      beginRow();
      return at;
    }
    const rest = gather(chunk, at, 1 + gathering!.readUInt32BE(1));
    if (rest.message) {
      forget();
      onMessage(rest.message);
    }
    return rest.at;
  };

  return {
    out,
    get rows() {
      return rows;
    },
    get ends() {
      return ends;
    },
    get endCount() {
      return endCount;
    },
    walk(chunk, start) {
      let at = start;
      while (at < chunk.length) {
        const next = row ? continueRow(chunk, at) : step(chunk, at);
        if (next === at && (row || chunk.length > at)) return at;
        at = next;
      }
      if (row) continueRow(chunk, at);
      return at;
    },
    reset(taken) {
      if (taken < out.length) out.bytes.copyWithin(0, taken, out.length);
      out.length -= taken;
      endCount = 0;
    },
  };
}

function refuseOtherCount(found: number, expected: number): void {
  if (found === expected) return;
  throw new PipelineError(
    "source-failed",
    `the server sent a row of ${found} columns; expected ${expected}, as it described them`,
  );
}

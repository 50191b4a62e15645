/**
 * Walks the bytes of a connection: DataRow messages become records in place, every other message is handed on whole.
 *
 * A row that lies whole in a chunk and surely fits the output is written at once; of any other row, one value after
 * the other, and a long value in parts. Every length is checked against the length around it before it is used.
 * Source: https://www.postgresql.org/docs/current/protocol-message-formats.html
 */
import {
  cutShort,
  dataRow,
  headBytes,
  keptBytes,
  lengthBytes,
  messageBytes,
  mostAtOnceBytes,
  mostMessageBytes,
  nonsense,
  nullLength,
  readLength,
  refuseOtherCount,
  rowHeadBytes,
} from "./messages.ts";
import { RecordOutput } from "./record-output.ts";
import { append, quoteBytes, type RecordLayout } from "./record-writer.ts";

/** What comes next, when it does not lie whole in one chunk: something short, a long value, or bytes to skip. */
type Expected = "message" | "length" | "value" | "long value" | "rest of a cut message";

export class RowWalker {
  readonly output: RecordOutput;
  readonly #layout: RecordLayout;
  readonly #onMessage: (message: Buffer) => void;
  /** Room for everything in a row but the bytes of its values. */
  readonly #framingBytes: number;
  /** Room for what stands around one value; and for the largest thing that is written at once when a row is not. */
  readonly #endBytes: number;
  readonly #reserveBytes: number;

  #expected: Expected = "message";
  #wanted = headBytes;
  /** Bytes of something short that has begun in an earlier chunk. */
  readonly #held = Buffer.allocUnsafeSlow(mostMessageBytes);
  #heldBytes = 0;
  #column = 0;
  /** Bytes to come: of the row, and of its long value or the message being skipped. */
  #rowLeft = 0;
  #left = 0;

  /**
   * @param capacity bytes of output: a page at least, since only a record longer than that is ever handed over in parts
   * @param onMessage gets every message that is no DataRow, with its head; valid during the call
   */
  constructor(layout: RecordLayout, capacity: number, onMessage: (message: Buffer) => void) {
    const { columns, growth, wholeBytes, between, after } = layout;
    const framing = columns.map(({ before, none }) => before.length + none.length + quoteBytes);
    const around = between.length + after.length;
    this.#layout = layout;
    this.#onMessage = onMessage;
    this.#framingBytes = framing.reduce((sum, bytes) => sum + bytes, around);
    this.#endBytes = framing.reduce((most, bytes) => Math.max(most, bytes), around) + around;
    this.#reserveBytes = growth * wholeBytes + this.#endBytes;
    this.output = new RecordOutput(capacity + this.#reserveBytes);
  }

  /**
   * Takes in `chunk` from `start` on. Gives where it stopped: the chunk's end, or before it when the output is full and
   * must be taken first.
   * @throws PipelineError `source-failed` when the bytes are no PostgreSQL messages or rows of other columns
   */
  walk(chunk: Buffer, start: number): number {
    let at = start;
    for (;;) {
      if (this.#expected === "message" && this.#heldBytes === 0) {
        at = this.#writeMessages(chunk, at);
      }
      if (at === chunk.length) return at;
      if (this.output.room < this.#reserveBytes) return at;
      if (this.#expected === "long value") at = this.#writePart(chunk, at);
      else if (this.#expected === "rest of a cut message") at = this.#skip(chunk, at);
      else at = this.#gather(chunk, at);
    }
  }

  /** Messages that lie whole in the chunk, up to a row that might not fit. */
  #writeMessages(chunk: Buffer, start: number): number {
    const { growth } = this.#layout;
    let at = start;
    while (chunk.length - at >= headBytes) {
      const end = at + messageBytes(chunk, at);
      if (end > chunk.length) break;
      if (chunk[at] === dataRow) {
        if ((end - at) * growth + this.#framingBytes > this.output.room) break;
        this.#writeRow(chunk, at, end);
      } else {
        if (end - at > mostAtOnceBytes) break;
        this.#onMessage(chunk.subarray(at, end));
      }
      at = end;
    }
    return at;
  }

  #writeRow(chunk: Buffer, start: number, end: number): void {
    const { columns } = this.#layout;
    refuseOtherCount(chunk, start, columns.length);
    this.#beginRecord();
    const { bytes: out } = this.output;
    let { length } = this.output;
    let at = start + rowHeadBytes;
    for (let i = 0; i < columns.length; i += 1) {
      const column = columns[i]!;
      const bytes = readLength(chunk, at);
      const next = at + lengthBytes;
      at = bytes === nullLength ? next : next + bytes;
      if (bytes < nullLength || at > end) throw nonsense();
      length = append(out, length, column.before);
      length =
        bytes === nullLength
          ? append(out, length, column.none)
          : column.whole(out, length, chunk, next, at);
    }
    if (at !== end) throw nonsense();
    this.output.length = length;
    this.#endRecord();
  }

  #beginRecord(): void {
    if (this.output.records > 0) this.output.append(this.#layout.between);
  }

  #endRecord(): void {
    this.output.append(this.#layout.after);
    this.output.endRecord();
  }

  /** Uses something short, in the chunk or put together from several; gives the new position. */
  #gather(chunk: Buffer, at: number): number {
    const end = at + this.#wanted - this.#heldBytes;
    if (this.#heldBytes === 0 && end <= chunk.length)
      return this.#use(chunk, at) ? end : this.#gather(chunk, at);
    const taken = chunk.copy(this.#held, this.#heldBytes, at, Math.min(end, chunk.length));
    this.#heldBytes += taken;
    if (this.#heldBytes === this.#wanted && this.#use(this.#held, 0)) this.#heldBytes = 0;
    return at + taken;
  }

  /** Uses what was wanted, from `at` on; false when it turned out that more of it is wanted. */
  #use(from: Buffer, at: number): boolean {
    if (this.#expected === "message") return this.#useMessage(from, at);
    if (this.#expected === "length") this.#useLength(readLength(from, at));
    else {
      const { output } = this;
      const { whole } = this.#layout.columns[this.#column]!;
      output.length = whole(output.bytes, output.length, from, at, at + this.#wanted);
      this.#endValue();
    }
    return true;
  }

  #useMessage(from: Buffer, at: number): boolean {
    const bytes = messageBytes(from, at);
    const isRow = from[at] === dataRow;
    const wanted = isRow ? rowHeadBytes : keptBytes(from[at]!, bytes);
    if (wanted > this.#wanted) {
      this.#wanted = wanted;
      return false;
    }
    this.#wanted = headBytes;
    if (isRow) {
      refuseOtherCount(from, at, this.#layout.columns.length);
      this.#rowLeft = bytes - rowHeadBytes;
      // Before the first value; without columns the row has come to its end.
      this.#column = -1;
      this.#beginRecord();
      this.#endValue();
    } else {
      const message = from.subarray(at, at + wanted);
      this.#left = bytes - wanted;
      if (this.#left > 0) {
        cutShort(message);
        this.#expected = "rest of a cut message";
      }
      this.#onMessage(message);
    }
    return true;
  }

  #useLength(bytes: number): void {
    const column = this.#layout.columns[this.#column]!;
    this.#rowLeft -= lengthBytes + Math.max(0, bytes);
    if (bytes < nullLength || this.#rowLeft < 0) throw nonsense();
    this.output.append(column.before);
    if (bytes === nullLength) {
      this.output.append(column.none);
      this.#endValue();
    } else if (bytes <= this.#layout.wholeBytes) {
      this.#expected = "value";
      this.#wanted = bytes;
    } else {
      this.#expected = "long value";
      this.#left = bytes;
      this.output.append(column.around);
    }
  }

  #writePart(chunk: Buffer, at: number): number {
    const { output } = this;
    const { columns, growth } = this.#layout;
    const { part, around } = columns[this.#column]!;
    const room = Math.floor((output.room - this.#endBytes) / growth);
    const bytes = Math.min(this.#left, chunk.length - at, room);
    output.length = part(output.bytes, output.length, chunk, at, at + bytes);
    this.#left -= bytes;
    if (this.#left === 0) {
      output.append(around);
      this.#endValue();
    }
    return at + bytes;
  }

  #endValue(): void {
    this.#column += 1;
    this.#expected = "length";
    this.#wanted = lengthBytes;
    if (this.#column < this.#layout.columns.length) return;
    if (this.#rowLeft !== 0) throw nonsense();
    this.#expected = "message";
    this.#wanted = headBytes;
    this.#endRecord();
  }

  #skip(chunk: Buffer, at: number): number {
    const bytes = Math.min(this.#left, chunk.length - at);
    this.#left -= bytes;
    if (this.#left === 0) this.#expected = "message";
    return at + bytes;
  }
}

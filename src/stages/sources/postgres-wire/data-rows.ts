/**
 * Walks the bytes of a connection: DataRow messages become records in place, every other message is handed on whole.
 *
 * A row that lies whole in a chunk and surely fits the output is written at once; of any other row, one value after
 * the other, and a long value in parts. Every length is checked against the length around it before it is used.
 * Source: https://www.postgresql.org/docs/current/protocol-message-formats.html
 */
import { formatBytes } from "../../atoms.ts";
import { PipelineError } from "../../../errors.ts";
import { append, quoteBytes, type RecordLayout } from "./record-writer.ts";

const dataRow = 0x44;
const errorResponse = 0x45;
const noticeResponse = 0x4e;
const headBytes = 5;
/** A DataRow's head with its number of columns. */
const rowHeadBytes = 7;
const lengthBytes = 4;
const nullLength = -1;

/** Errors and notices are cut there: code and severity stand in front, and the rest may be as long as a value. */
const cutMessageBytes = 16 * 1024;
/** Any other message of a query's answer is far shorter. */
const mostMessageBytes = 1024 * 1024;

/** What comes next, when it does not lie whole in one chunk: something short, a long value, or bytes to skip. */
type Expected = "message" | "length" | "value" | "long value" | "rest of a cut message";

export class RowWalker {
  /** Records since the last `take`, back to back; where each ends; how many do. */
  readonly out: Buffer<ArrayBuffer>;
  ends = new Uint32Array(4096);
  endCount = 0;
  /** Records written whole so far, in all. */
  rows = 0;

  #length = 0;
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
  #held = Buffer.allocUnsafeSlow(512);
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
    this.out = Buffer.allocUnsafeSlow(capacity + this.#reserveBytes);
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
      if (this.out.length - this.#length < this.#reserveBytes) return at;
      if (this.#expected === "long value") at = this.#writePart(chunk, at);
      else if (this.#expected === "rest of a cut message") at = this.#skip(chunk, at);
      else at = this.#gather(chunk, at);
    }
  }

  /** Bytes of whole records; of a record that alone fills the output, what there is of it. */
  get takeable(): number {
    return this.endCount > 0 ? this.ends[this.endCount - 1]! : this.#length;
  }

  /** The output was taken: keeps only what was not takeable. */
  take(): void {
    const taken = this.takeable;
    this.out.copyWithin(0, taken, this.#length);
    this.#length -= taken;
    this.endCount = 0;
  }

  /** Messages that lie whole in the chunk, up to a row that might not fit. */
  #writeMessages(chunk: Buffer, start: number): number {
    const { growth } = this.#layout;
    let at = start;
    while (chunk.length - at >= headBytes) {
      const end = at + messageBytes(chunk, at);
      if (end > chunk.length) break;
      if (chunk[at] === dataRow) {
        const most = (end - at) * growth + this.#framingBytes;
        if (most > this.out.length - this.#length) break;
        this.#writeRow(chunk, at, end);
      } else {
        if (end - at > cutMessageBytes) break;
        this.#onMessage(chunk.subarray(at, end));
      }
      at = end;
    }
    return at;
  }

  #writeRow(chunk: Buffer, start: number, end: number): void {
    const { columns, between } = this.#layout;
    const { out } = this;
    refuseOtherCount(chunk, start, columns.length);
    let at = start + rowHeadBytes;
    let length = this.rows > 0 ? append(out, this.#length, between) : this.#length;
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
    this.#length = length;
    this.#endRecord();
  }

  #endRecord(): void {
    this.#length = append(this.out, this.#length, this.#layout.after);
    if (this.endCount === this.ends.length) {
      const more = new Uint32Array(this.ends.length * 2);
      more.set(this.ends);
      this.ends = more;
    }
    this.ends[this.endCount] = this.#length;
    this.endCount += 1;
    this.rows += 1;
  }

  /** Uses something short, in the chunk or put together from several; gives the new position. */
  #gather(chunk: Buffer, at: number): number {
    const end = at + this.#wanted - this.#heldBytes;
    if (this.#heldBytes === 0 && end <= chunk.length)
      return this.#use(chunk, at) ? end : this.#gather(chunk, at);
    if (this.#held.length < this.#wanted) {
      const larger = Buffer.allocUnsafeSlow(this.#wanted);
      this.#held.copy(larger, 0, 0, this.#heldBytes);
      this.#held = larger;
    }
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
      const { whole } = this.#layout.columns[this.#column]!;
      this.#length = whole(this.out, this.#length, from, at, at + this.#wanted);
      this.#endValue();
    }
    return true;
  }

  #useMessage(from: Buffer, at: number): boolean {
    const bytes = messageBytes(from, at);
    const isRow = from[at] === dataRow;
    const wanted = isRow ? rowHeadBytes : Math.min(bytes, longestKept(from[at]!, bytes));
    if (wanted > this.#wanted) {
      this.#wanted = wanted;
      return false;
    }
    this.#wanted = headBytes;
    if (isRow) {
      refuseOtherCount(from, at, this.#layout.columns.length);
      this.#rowLeft = bytes - rowHeadBytes;
      this.#column = -1;
      if (this.rows > 0) this.#length = append(this.out, this.#length, this.#layout.between);
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
    this.#length = append(this.out, this.#length, column.before);
    if (bytes === nullLength) {
      this.#length = append(this.out, this.#length, column.none);
      this.#endValue();
    } else if (bytes <= this.#layout.wholeBytes) {
      this.#expected = "value";
      this.#wanted = bytes;
    } else {
      this.#expected = "long value";
      this.#left = bytes;
      this.#length = append(this.out, this.#length, column.around);
    }
  }

  #writePart(chunk: Buffer, at: number): number {
    const { columns, growth } = this.#layout;
    const { part, around } = columns[this.#column]!;
    const room = Math.floor((this.out.length - this.#length - this.#endBytes) / growth);
    const bytes = Math.min(this.#left, chunk.length - at, room);
    this.#length = part(this.out, this.#length, chunk, at, at + bytes);
    this.#left -= bytes;
    if (this.#left === 0) {
      this.#length = append(this.out, this.#length, around);
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

/** Signed, as the protocol has it: -1 is NULL, and nothing is 2 GiB long. */
const readLength = (from: Buffer, at: number): number =>
  (from[at]! << 24) | (from[at + 1]! << 16) | (from[at + 2]! << 8) | from[at + 3]!;

/** Bytes of the message that begins at `at`, its head included. */
function messageBytes(from: Buffer, at: number): number {
  const bytes = readLength(from, at + 1);
  if (bytes < lengthBytes) throw nonsense();
  return 1 + bytes;
}

function longestKept(type: number, bytes: number): number {
  if (type === errorResponse || type === noticeResponse) return cutMessageBytes;
  if (bytes <= mostMessageBytes) return mostMessageBytes;
  throw new PipelineError(
    "source-failed",
    `the server sent a message of ${formatBytes(bytes)} that is no row; expected at most ${formatBytes(mostMessageBytes)}`,
  );
}

/** Its text ends sooner, and the list of its fields there. */
function cutShort(message: Buffer): void {
  message.writeUInt32BE(message.length - 1, 1);
  message.fill(0, message.length - 2);
}

function refuseOtherCount(from: Buffer, at: number, expected: number): void {
  const found = (from[at + headBytes]! << 8) | from[at + headBytes + 1]!;
  if (found === expected) return;
  throw new PipelineError(
    "source-failed",
    `the server sent a row of ${found} columns; expected ${expected}, as it described them`,
  );
}

const nonsense = () =>
  new PipelineError(
    "source-failed",
    "the bytes from the server are no PostgreSQL messages; expected a connection that changes nothing on its way",
  );

/**
 * Walks the bytes of a connection: DataRow messages become records in place, every other message is handed on whole.
 *
 * Rows that lie whole in a read and surely fit the output are written at once, by the machine alone. A short row that a
 * read ends in is carried over to the next one; of any other row, one value after the other, and a long value in parts.
 * Every length is checked against the length around it before it is used. Positions are bytes of the machine's memory.
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
  nonsense,
  nullLength,
  readBytes,
  readLength,
  refuseOtherCount,
  rowHeadBytes,
} from "./messages.ts";
import { carriedBytes, RecordMachine, type RecordLayout } from "./record-machine.ts";
import { RecordOutput } from "./record-output.ts";

/** What comes next, when it does not lie whole in one read: something short, a long value, or bytes to skip. */
type Expected = "message" | "length" | "value" | "long value" | "rest of a cut message";

export class RowWalker {
  readonly output: RecordOutput;
  /** Where a read of the socket goes, all of it, whenever everything read before has been walked. */
  readonly inlet: Buffer;
  readonly #machine: RecordMachine;
  readonly #bytes: Buffer;
  readonly #columns: number;
  readonly #growth: number;
  readonly #onMessage: (message: Buffer) => void;

  /** What was read and not yet walked. */
  #at = 0;
  #end = 0;
  /** Bytes of a short message that lie before the inlet, whose rest the next read brings. */
  #carriedBytes = 0;
  #expected: Expected = "message";
  #wanted = headBytes;
  /** Bytes held of something short that began in an earlier read. */
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
    this.#machine = new RecordMachine(layout, capacity);
    this.#bytes = this.#machine.bytes;
    this.#columns = layout.columns.length;
    this.#growth = layout.growth;
    this.#onMessage = onMessage;
    this.output = new RecordOutput(this.#machine);
    this.inlet = this.#bytes.subarray(this.#machine.inletAt, this.#machine.inletAt + readBytes);
  }

  /** Whether all that was read has been walked, so that the inlet is free. */
  get isEmpty(): boolean {
    return this.#at === this.#end;
  }

  get begun(): Buffer | undefined {
    if (this.#expected !== "message") return undefined;
    const { heldAt, inletAt } = this.#machine;
    return this.#heldBytes > 0
      ? this.#bytes.subarray(heldAt, heldAt + this.#heldBytes)
      : this.#bytes.subarray(inletAt - this.#carriedBytes, inletAt);
  }

  /**
   * Says that `bytes` bytes of the inlet were read, and walks them.
   * @throws PipelineError `source-failed` when they are no PostgreSQL messages or rows of other columns
   */
  read(bytes: number): void {
    const { inletAt } = this.#machine;
    this.#at = inletAt - this.#carriedBytes;
    this.#end = inletAt + bytes;
    this.#carriedBytes = 0;
    this.walk();
  }

  /** Walks on, until everything is walked or the output is full and must be taken first. */
  walk(): void {
    while (this.#at < this.#end) {
      if (this.#expected === "message" && this.#machine.isFull) return;
      if (this.#expected === "message" && this.#heldBytes === 0 && !this.#writeMessages()) return;
      if (this.isEmpty || this.output.room < this.#machine.reserveBytes) return;
      if (this.#expected === "long value") this.#writePart();
      else if (this.#expected === "rest of a cut message") this.#skip();
      else this.#gather();
    }
  }

  /** Messages that were read whole, up to a row that might not fit; false when the output is full or all is walked. */
  #writeMessages(): boolean {
    for (;;) {
      this.#at = this.#machine.writeRows(this.#at, this.#end);
      if (this.#machine.isFull) return false;
      const left = this.#end - this.#at;
      const bytes = left < headBytes ? headBytes : messageBytes(this.#bytes, this.#at);
      if (bytes > left) {
        if (bytes > carriedBytes) return true;
        this.#carry(left);
        return false;
      }
      if (this.#bytes[this.#at] === dataRow || bytes > mostAtOnceBytes) return true;
      this.#onMessage(this.#bytes.subarray(this.#at, this.#at + bytes));
      this.#at += bytes;
    }
  }

  #carry(bytes: number): void {
    const { inletAt } = this.#machine;
    this.#bytes.copyWithin(inletAt - bytes, this.#at, this.#end);
    this.#carriedBytes = bytes;
    this.#at = this.#end;
  }

  /** Uses something short, as it was read or put together from several reads. */
  #gather(): void {
    const { heldAt } = this.#machine;
    const missing = this.#wanted - this.#heldBytes;
    if (this.#heldBytes === 0 && missing <= this.#end - this.#at) {
      const at = this.#at;
      if (this.#use(at)) this.#at = at + missing;
      return;
    }
    const taken = Math.min(missing, this.#end - this.#at);
    this.#bytes.copyWithin(heldAt + this.#heldBytes, this.#at, this.#at + taken);
    this.#at += taken;
    this.#heldBytes += taken;
    if (this.#heldBytes === this.#wanted && this.#use(heldAt)) this.#heldBytes = 0;
  }

  /** Uses what was wanted, from `at` on; false when it turned out that more of it is wanted. */
  #use(at: number): boolean {
    if (this.#expected === "message") return this.#useMessage(at);
    if (this.#expected === "length") this.#useLength(readLength(this.#bytes, at));
    else {
      this.#machine.writeValue(this.#column, at, at + this.#wanted);
      this.#endValue();
    }
    return true;
  }

  #useMessage(at: number): boolean {
    const bytes = messageBytes(this.#bytes, at);
    const type = this.#bytes[at]!;
    const wanted = type === dataRow ? rowHeadBytes : keptBytes(type, bytes);
    if (wanted > this.#wanted) {
      this.#wanted = wanted;
      return false;
    }
    this.#wanted = headBytes;
    if (type === dataRow) {
      refuseOtherCount(this.#bytes, at, this.#columns);
      this.#rowLeft = bytes - rowHeadBytes;
      // Before the first value; without columns the row has come to its end.
      this.#column = -1;
      this.#machine.exports.beginRecord();
      this.#endValue();
    } else {
      const message = this.#bytes.subarray(at, at + wanted);
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
    const { exports } = this.#machine;
    this.#rowLeft -= lengthBytes + Math.max(0, bytes);
    if (bytes < nullLength || this.#rowLeft < 0) throw nonsense();
    exports.beginValue(this.#column);
    if (bytes === nullLength) {
      exports.writeNull(this.#column);
      this.#endValue();
    } else if (this.#machine.isLong(this.#column, bytes)) {
      this.#expected = "long value";
      this.#left = bytes;
      exports.openLong(this.#column);
    } else {
      this.#expected = "value";
      this.#wanted = bytes;
    }
  }

  #writePart(): void {
    const { exports, endBytes } = this.#machine;
    const room = Math.floor((this.output.room - endBytes) / this.#growth);
    const bytes = Math.min(this.#left, this.#end - this.#at, room);
    exports.writePart(this.#column, this.#at, this.#at + bytes);
    this.#at += bytes;
    this.#left -= bytes;
    if (this.#left > 0) return;
    exports.closeLong(this.#column);
    this.#endValue();
  }

  #endValue(): void {
    this.#column += 1;
    this.#expected = "length";
    this.#wanted = lengthBytes;
    if (this.#column < this.#columns) return;
    if (this.#rowLeft !== 0) throw nonsense();
    this.#expected = "message";
    this.#wanted = headBytes;
    this.#machine.exports.endRecord();
  }

  #skip(): void {
    const bytes = Math.min(this.#left, this.#end - this.#at);
    this.#at += bytes;
    this.#left -= bytes;
    if (this.#left === 0) this.#expected = "message";
  }
}

/**
 * Walks the bytes of a connection that answers a COPY: what stands in CopyData messages becomes records as it is, every
 * other message is handed on whole.
 *
 * The server sends a message a row; the first one begins with the header of the format, and the binary trailer has one of
 * its own, or stands behind the header when there are no rows. Rows that a read brings whole are pushed together in place
 * and copied at once; any other row as it comes, however long it is.
 * Source: https://www.postgresql.org/docs/current/protocol-flow.html (COPY Operations) and sql-copy.html (File Formats).
 */
import {
  copyData,
  cutShort,
  headBytes,
  keptBytes,
  messageBytes,
  mostMessageBytes,
  nonsense,
  readBytes,
} from "../postgres-wire/messages.ts";
import { CopyOutput } from "./copy-output.ts";

/** What stands around the rows of a format: `line` is one message, `binary` a signature with its flags. */
export type CopyHeader = "none" | "line" | "binary";

/** What comes next, when it does not lie whole in one read. */
type Expected = "message" | "header" | "mark" | "row" | "rest of a cut message";

const copyDone = 0x63;

const signature = Buffer.from("PGCOPY\n\xff\r\n\0", "latin1");
/** Signature, flags and the length of an extension that no server has written yet. */
const binaryHeaderBytes = signature.length + 8;
/** The trailer is the number of a row's fields, -1: two bytes that no row of any format consists of. */
const markBytes = 2;
const markByte = 0xff;
/** Shorter rows are moved faster by hand. */
const byHandBytes = 16;

export class CopyWalker {
  readonly output: CopyOutput;
  /** Where a read of the socket goes, all of it, whenever everything read before has been walked. */
  readonly inlet = Buffer.allocUnsafeSlow(readBytes);
  /** As the server sent them: the header once the first message came, the trailer once the data has ended. */
  header: Uint8Array = new Uint8Array(0);
  trailer: Uint8Array = new Uint8Array(0);
  readonly #kind: CopyHeader;
  readonly #onMessage: (message: Buffer) => void;
  /** What was read and not yet walked. */
  #at = 0;
  #end = 0;
  #expected: Expected = "message";
  #wanted = headBytes;
  /** Bytes of something short, put together here. */
  readonly #held = Buffer.allocUnsafeSlow(mostMessageBytes);
  #heldBytes = 0;
  /** Bytes to come of the message. */
  #left = 0;
  /** The header, where there is one, has come. */
  #begun: boolean;

  /**
   * @param capacity bytes of output: a page at least, since only a record longer than that is ever handed over in parts
   * @param onMessage gets every message that is no CopyData, with its head; valid during the call
   */
  constructor(kind: CopyHeader, capacity: number, onMessage: (message: Buffer) => void) {
    this.#kind = kind;
    this.#onMessage = onMessage;
    this.#begun = kind === "none";
    this.output = new CopyOutput(capacity + markBytes);
  }

  /** Whether all that was read has been walked, so that the inlet is free. */
  get isEmpty(): boolean {
    return this.#at === this.#end;
  }

  get begun(): Buffer | undefined {
    return this.#expected === "message" ? this.#held.subarray(0, this.#heldBytes) : undefined;
  }

  /**
   * Says that `bytes` bytes of the inlet were read, and walks them.
   * @throws PipelineError `source-failed` when they are no PostgreSQL messages, or no COPY of this format
   */
  read(bytes: number): void {
    this.#at = 0;
    this.#end = bytes;
    this.walk();
  }

  /** Walks on, until everything is walked or the output is full and must be taken first. */
  walk(): void {
    while (this.#at < this.#end) {
      if (this.#begun && this.#expected === "message" && this.#heldBytes === 0) this.#takeRows();
      if (this.isEmpty || this.#isFull) return;
      if (this.#expected === "row") this.#takePart();
      else if (this.#expected === "rest of a cut message") this.#skip();
      else this.#gather();
    }
  }

  get #isFull(): boolean {
    return this.output.room < markBytes || !this.output.hasRoomForEnds;
  }

  /** Rows that were read whole and fit the output, pushed together where they lie. */
  #takeRows(): void {
    const { inlet, output } = this;
    const { length, room } = output;
    const start = this.#at;
    const stop = this.#end;
    let to = start;
    let at = start;
    while (output.hasRoomForEnds && stop - at >= headBytes && inlet[at] === copyData) {
      const from = at + headBytes;
      const end = at + messageBytes(inlet, at);
      if (end > stop || to + end - from > start + room || isMark(inlet, from, end)) break;
      to = moveDown(inlet, to, from, end);
      output.length = length + to - start;
      output.endRow();
      at = end;
    }
    inlet.copy(output.bytes, length, start, to);
    this.#at = at;
  }

  /** Puts something short together and uses it. */
  #gather(): void {
    const end = Math.min(this.#at + this.#wanted - this.#heldBytes, this.#end);
    this.#heldBytes += this.inlet.copy(this.#held, this.#heldBytes, this.#at, end);
    this.#at = end;
    if (this.#heldBytes < this.#wanted) return;
    if (this.#use(this.#held.subarray(0, this.#heldBytes))) this.#heldBytes = 0;
  }

  /** Uses what was wanted; false when it turned out that more of it is wanted. */
  #use(held: Buffer): boolean {
    if (this.#expected === "message") return this.#useMessage(held);
    this.#left -= held.length;
    if (this.#expected === "header") this.#useHeader(held);
    else this.#useMark(held);
    return true;
  }

  #useMessage(held: Buffer): boolean {
    const bytes = messageBytes(held, 0);
    if (held[0] === copyData) {
      this.#left = bytes - headBytes;
      this.#beginData();
      return true;
    }
    const wanted = keptBytes(held[0]!, bytes);
    if (wanted > held.length) {
      this.#wanted = wanted;
      return false;
    }
    if (held[0] === copyDone) this.#refuseUnfinished();
    this.#left = bytes - wanted;
    if (this.#left > 0) cutShort(held);
    this.#expect(this.#left > 0 ? "rest of a cut message" : "message", headBytes);
    this.#onMessage(held);
    return true;
  }

  #beginData(): void {
    if (this.#begun) return this.#beginRow();
    const wanted = this.#kind === "line" ? this.#left : binaryHeaderBytes;
    if (wanted === 0 || wanted > Math.min(this.#left, mostMessageBytes)) throw nonsense();
    this.#expect("header", wanted);
  }

  #beginRow(): void {
    if (this.#left === markBytes) this.#expect("mark", markBytes);
    else if (this.#left > 0) this.#expect("row", 0);
    else this.#endRow();
  }

  #useHeader(held: Buffer): void {
    this.#begun = true;
    this.header = Uint8Array.from(held);
    if (this.#kind === "binary" && !isBinaryHeader(held)) throw nonsense();
    if (this.#left > 0) this.#beginRow();
    else this.#expect("message", headBytes);
  }

  /** Two bytes are the trailer, or a row without columns or with one character. */
  #useMark(held: Buffer): void {
    if (isMark(held, 0, held.length)) {
      this.trailer = Uint8Array.from(held);
      this.#expect("message", headBytes);
    } else {
      held.copy(this.output.bytes, this.output.length);
      this.output.length += held.length;
      this.#endRow();
    }
  }

  /** What there is of a row, as far as it fits. */
  #takePart(): void {
    const { output } = this;
    const bytes = Math.min(this.#left, this.#end - this.#at, output.room);
    this.inlet.copy(output.bytes, output.length, this.#at, this.#at + bytes);
    output.length += bytes;
    this.#at += bytes;
    this.#left -= bytes;
    if (this.#left === 0) this.#endRow();
  }

  #endRow(): void {
    this.output.endRow();
    this.#expect("message", headBytes);
  }

  #skip(): void {
    const bytes = Math.min(this.#left, this.#end - this.#at);
    this.#at += bytes;
    this.#left -= bytes;
    if (this.#left === 0) this.#expect("message", headBytes);
  }

  #expect(expected: Expected, wanted: number): void {
    this.#expected = expected;
    this.#wanted = wanted;
  }

  #refuseUnfinished(): void {
    const isWhole = this.#begun && (this.#kind !== "binary" || this.trailer.length > 0);
    if (!isWhole) throw nonsense();
  }
}

const isMark = (from: Buffer, start: number, end: number): boolean =>
  end - start === markBytes && from[start] === markByte && from[start + 1] === markByte;

const isBinaryHeader = (header: Buffer): boolean =>
  header.subarray(0, signature.length).equals(signature) &&
  header.readInt32BE(binaryHeaderBytes - 4) === 0;

/** Moves bytes to where they began or before; gives where they end. */
function moveDown(bytes: Buffer, to: number, from: number, end: number): number {
  const after = to + end - from;
  if (end - from >= byHandBytes) bytes.copyWithin(to, from, end);
  else for (let i = from, j = to; i < end; i += 1, j += 1) bytes[j] = bytes[i]!;
  return after;
}

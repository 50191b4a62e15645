/**
 * The WebAssembly module that writes records (`assembly/`), in memory of its own: reads land in it, records are taken from it.
 *
 * The memory, in this order, each part with 16 bytes behind it since vectors reach beyond their end: the module's tables,
 * columns and texts, ends of records, what is held of a row that is longer than a read, the inlet with what was carried over
 * from the read before it in front, the output.
 */
import { machineBytes } from "./machine-bytes.ts";
import { mostMessageBytes, nonsense, otherCount } from "./messages.ts";
import { byteaKind, isBinaryKind, numericKind } from "./value-kinds.ts";

/** How one column is written. */
export interface ColumnLayout {
  /** One of `value-kinds.ts`. */
  readonly kind: number;
  /** Written before each value of the column, with the separator before it. */
  readonly before: Uint8Array;
  /** Written for NULL. */
  readonly none: Uint8Array;
}

export interface RecordLayout {
  readonly extension: string;
  readonly json: boolean;
  readonly columns: readonly ColumnLayout[];
  /** Before the first record; between two records; after each; after the last. */
  readonly header: Uint8Array;
  readonly between: Uint8Array;
  readonly after: Uint8Array;
  readonly footer: Uint8Array;
  /** How many bytes one byte of a value may become. */
  readonly growth: number;
  /** Values that print up to so many bytes are never written in parts. */
  readonly wholeBytes: number;
}

/** What `assembly/records.ts` exports; positions are bytes in its memory. */
interface Exports {
  readonly out: { readonly value: number };
  readonly endCount: { readonly value: number };
  describeColumns(at: number, count: number, json: boolean): void;
  describeRecord(between: number, betweenBytes: number, after: number, afterBytes: number): void;
  describeRoom(
    start: number,
    end: number,
    enough: number,
    growth: number,
    framing: number,
    numericRoom: number,
  ): void;
  describeEnds(at: number, most: number): void;
  writeRows(at: number, end: number): number;
  beginRecord(): void;
  endRecord(): void;
  keepFrom(taken: number): void;
  beginValue(column: number): void;
  writeNull(column: number): void;
  writeValue(column: number, at: number, end: number): number;
  openLong(column: number): void;
  writePart(column: number, at: number, end: number): void;
  closeLong(column: number): void;
}

/** As much of it as is used here; TypeScript knows it of browsers alone. */
declare const WebAssembly: {
  Memory: new (size: { initial: number; maximum: number }) => { readonly buffer: ArrayBuffer };
  Module: new (bytes: Uint8Array) => object;
  Instance: new (
    module: object,
    imports: { env: { memory: object } },
  ) => { readonly exports: object };
};

/** One read of a socket: libuv asks for so many. */
export const readBytes = 64 * 1024;
/** Rows up to so many bytes are carried over when a read ends in them; longer ones are walked value by value. */
export const carriedBytes = 16 * 1024;
/** What a value may need beside `growth` times its bytes: quotes, `\x`, the 39 bytes a timestamp prints at most. */
const besideBytes = 24;
/** Numerics that may print longer are no part of a row that is written at once. */
const numericRoomBytes = 256;
/** 131072 digits before the point and 16383 behind it; in base 10000, two bytes for four digits. */
const mostNumericBytes = 160 * 1024;
const mostNumericSentBytes = 80 * 1024;
/** Records an output ends at most: 256 KiB of ends. */
const mostEnds = 64 * 1024;
/** Enough to be taken: it is still in the cache then. */
const enoughBytes = 256 * 1024;
const slackBytes = 16;
const columnBytes = 20;
const memoryPageBytes = 64 * 1024;
/** The module's own tables lie below. */
const firstFreeByte = 4096;

/** What the module answers to a row of another count of columns; any other negative answer means no row at all. */
const isOtherCount = -2;

let compiled: object | undefined;

export class RecordMachine {
  readonly exports: Exports;
  /** All of the memory; positions are indexes of it. */
  readonly bytes: Buffer<ArrayBuffer>;
  readonly heldAt: number;
  readonly inletAt: number;
  readonly outAt: number;
  readonly outBytes: number;
  readonly ends: Uint32Array<ArrayBuffer>;
  /** Room for what stands around one value, and for the largest thing that is written at once when a row is not. */
  readonly endBytes: number;
  readonly reserveBytes: number;
  readonly #layout: RecordLayout;

  /** @param capacity bytes of output: a page at least, since only a record longer than that is handed over in parts */
  constructor(layout: RecordLayout, capacity: number) {
    const { columns, growth, wholeBytes, between, after } = layout;
    const framing = columns.map(({ before, none }) => before.length + none.length + besideBytes);
    const around = between.length + after.length;
    const numerics = columns.filter(({ kind }) => kind === numericKind).length;
    const longest = Math.max(growth * wholeBytes, numerics > 0 ? mostNumericBytes : 0);
    this.#layout = layout;
    this.endBytes = framing.reduce((most, bytes) => Math.max(most, bytes), around) + around;
    this.reserveBytes = longest + this.endBytes;
    this.outBytes = capacity + this.reserveBytes;

    let free = firstFreeByte;
    const place = (bytes: number) => {
      const at = free;
      free = (at + bytes + 2 * slackBytes) & -slackBytes;
      return at;
    };
    const columnsAt = place(columns.length * columnBytes);
    const placed = columns.map((column) => ({
      kind: column.kind,
      before: { at: place(column.before.length), text: column.before },
      none: { at: place(column.none.length), text: column.none },
    }));
    const betweenAt = place(between.length);
    const afterAt = place(after.length);
    const endsAt = place(mostEnds * Uint32Array.BYTES_PER_ELEMENT);
    this.heldAt = place(mostMessageBytes);
    this.inletAt = place(carriedBytes + readBytes) + carriedBytes;
    this.outAt = place(this.outBytes);

    const pages = Math.ceil(free / memoryPageBytes);
    const memory = new WebAssembly.Memory({ initial: pages, maximum: pages });
    compiled ??= new WebAssembly.Module(machineBytes());
    const instance = new WebAssembly.Instance(compiled, { env: { memory } });
    this.exports = instance.exports as Exports;
    this.bytes = Buffer.from(memory.buffer);
    this.ends = new Uint32Array(this.bytes.buffer, endsAt, mostEnds);

    const words = new DataView(this.bytes.buffer);
    for (const [index, { kind, before, none }] of placed.entries()) {
      const values = [kind, before.at, before.text.length, none.at, none.text.length];
      for (const [n, value] of values.entries())
        words.setUint32(columnsAt + index * columnBytes + n * 4, value, true);
      this.bytes.set(before.text, before.at);
      this.bytes.set(none.text, none.at);
    }
    this.bytes.set(between, betweenAt);
    this.bytes.set(after, afterAt);
    const allFraming =
      framing.reduce((sum, bytes) => sum + bytes, around) + numerics * numericRoomBytes;
    this.exports.describeColumns(columnsAt, columns.length, layout.json);
    this.exports.describeRecord(betweenAt, between.length, afterAt, after.length);
    this.exports.describeRoom(
      this.outAt,
      this.outAt + this.outBytes,
      enoughBytes,
      growth,
      allFraming,
      numericRoomBytes,
    );
    this.exports.describeEnds(endsAt, mostEnds);
  }

  /** The output holds enough to be taken, or ends as many records as can be noted. */
  get isFull(): boolean {
    const { out, endCount } = this.exports;
    return out.value >= this.outAt + enoughBytes || endCount.value === mostEnds;
  }

  /**
   * Writes rows that lie whole between the two; gives where it stopped.
   * @throws PipelineError `source-failed`
   */
  writeRows(at: number, end: number): number {
    const stopped = this.exports.writeRows(at, end);
    if (stopped >= 0) return stopped;
    throw stopped === isOtherCount ? otherCount(this.#layout.columns.length) : nonsense();
  }

  /** @throws PipelineError `source-failed` when it is no value of this column's type */
  writeValue(column: number, at: number, end: number): void {
    if (this.exports.writeValue(column, at, end) === 0) throw nonsense();
  }

  /** Whether a value of this column and length comes in parts. */
  isLong(column: number, bytes: number): boolean {
    const { kind } = this.#layout.columns[column]!;
    if (kind === byteaKind) return 2 * bytes + 2 > this.#layout.wholeBytes;
    if (!isBinaryKind(kind)) return bytes > this.#layout.wholeBytes;
    return bytes > mostNumericSentBytes;
  }
}

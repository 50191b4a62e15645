/**
 * The WebAssembly module that writes records (`assembly/`), in memory of its own: reads land in it, records are taken from it.
 *
 * The memory, in this order, each part with 32 bytes behind it since vectors reach beyond their end: the module's tables,
 * columns and texts, ends of records, what is held of a row that is longer than a read, the inlet with what was carried over
 * from the read before it in front, the output.
 */
import type { CsvDialect } from "../../formats/csv-dialect.ts";
import { mostMessageBytes, nonsense, otherCount, readBytes } from "./messages.ts";
import { startMachine, type MachineExports } from "./start-machine.ts";
import * as kinds from "./value-kinds.ts";

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
  /** Absent: JSON. */
  readonly dialect?: CsvDialect;
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
  /** Whether a longer one, written in parts, looks different; then it is never written whole. */
  readonly partsDiffer: boolean;
}

/** Rows up to so many bytes are carried over when a read ends in them; longer ones are walked value by value. */
export const carriedBytes = 16 * 1024;
/** What a value may need beside `growth` times its bytes: quotes, `\x`, the 39 bytes a timestamp prints at most. */
const besideBytes = 26;
/** Numerics that may print longer are no part of a row that is written at once. */
const numericRoomBytes = 256;
/** 131072 digits before the point and 16383 behind it; in base 10000, two bytes for four digits. */
const mostNumericBytes = 160 * 1024;
const mostNumericSentBytes = 80 * 1024;
/** Records an output ends at most: 256 KiB of ends. */
const mostEnds = 64 * 1024;
/** Enough to be taken: it is still in the cache then. */
const enoughBytes = 256 * 1024;
const mostPrintedBytes = 2 ** 31 - 1;
const slackBytes = 32;
const columnBytes = 24;
/** The module's own tables lie below. */
const firstFreeByte = 4096;

/** The one length in bytes that values of a kind have. */
const lengths: Readonly<Record<number, number>> = {
  [kinds.booleanKind]: 1,
  [kinds.int2Kind]: 2,
  [kinds.int4Kind]: 4,
  [kinds.int8Kind]: 8,
  [kinds.uuidKind]: 16,
  [kinds.dateKind]: 4,
  [kinds.timestampKind]: 8,
  [kinds.timestamptzKind]: 8,
};

/** What the module answers to a row of another count of columns; any other negative answer means no row at all. */
const isOtherCount = -2;

/** Places in a memory, one behind the other. */
function createPlaces() {
  let free = firstFreeByte;
  return {
    get bytes() {
      return free;
    },
    take(bytes: number): number {
      const at = free;
      free = (at + bytes + 2 * slackBytes) & -slackBytes;
      return at;
    },
  };
}

/** What of a record is no value; room for what stands around one value, and for all that is written at once of a long row. */
function measureRoom({ columns, growth, wholeBytes, between, after }: RecordLayout) {
  const framing = columns.map(({ before, none }) => before.length + none.length + besideBytes);
  const around = between.length + after.length;
  const numerics = columns.filter(({ kind }) => kind === kinds.numericKind).length;
  const endBytes = framing.reduce((most, bytes) => Math.max(most, bytes), around) + around;
  return {
    framingBytes: framing.reduce((sum, bytes) => sum + bytes, around) + numerics * numericRoomBytes,
    endBytes,
    reserveBytes: endBytes + Math.max(growth * wholeBytes, numerics > 0 ? mostNumericBytes : 0),
  };
}

export class RecordMachine {
  readonly exports: MachineExports;
  /** All of the memory; positions are indexes of it. */
  readonly bytes: Buffer<ArrayBuffer>;
  readonly heldAt: number;
  readonly inletAt: number;
  readonly outAt: number;
  readonly outBytes: number;
  readonly ends: Uint32Array<ArrayBuffer>;
  readonly endBytes: number;
  readonly reserveBytes: number;
  readonly #layout: RecordLayout;

  /** @param capacity bytes of output: a page at least, since only a record longer than that is handed over in parts */
  constructor(layout: RecordLayout, capacity: number) {
    const { columns, between, after, dialect } = layout;
    const none = Buffer.from(dialect?.null ?? "");
    const room = measureRoom(layout);
    const places = createPlaces();
    const columnsAt = places.take(columns.length * columnBytes);
    const texts = columns.map(({ before, none }) => [
      places.take(before.length),
      places.take(none.length),
    ]);
    const betweenAt = places.take(between.length);
    const afterAt = places.take(after.length);
    const noneAt = places.take(none.length);
    const endsAt = places.take(mostEnds * Uint32Array.BYTES_PER_ELEMENT);
    this.#layout = layout;
    this.endBytes = room.endBytes;
    this.reserveBytes = room.reserveBytes;
    this.outBytes = capacity + room.reserveBytes;
    this.heldAt = places.take(mostMessageBytes);
    this.inletAt = places.take(carriedBytes + readBytes) + carriedBytes;
    this.outAt = places.take(this.outBytes);

    const { exports, buffer } = startMachine(places.bytes);
    this.exports = exports;
    this.bytes = Buffer.from(buffer);
    this.ends = new Uint32Array(buffer, endsAt, mostEnds);
    for (const [index, { kind, before, none }] of columns.entries()) {
      const [beforeAt = 0, noneAt = 0] = texts[index]!;
      this.bytes.set(before, beforeAt);
      this.bytes.set(none, noneAt);
      const words = [kind, beforeAt, before.length, noneAt, none.length, lengths[kind] ?? 0];
      this.bytes.set(
        new Uint8Array(Uint32Array.from(words).buffer),
        columnsAt + index * columnBytes,
      );
    }
    this.bytes.set(between, betweenAt);
    this.bytes.set(after, afterAt);
    this.bytes.set(none, noneAt);
    exports.describeColumns(columnsAt, columns.length, dialect === undefined);
    exports.describeRecord(betweenAt, between.length, afterAt, after.length);
    exports.describeEnds(endsAt, mostEnds);
    if (dialect) {
      const { delimiter, quote, quoteAll } = dialect;
      const codes = [delimiter.charCodeAt(0), quote.charCodeAt(0)] as const;
      exports.describeCsv(...codes, quoteAll, noneAt, none.length);
    }
    exports.describeRoom(
      this.outAt,
      this.outAt + this.outBytes,
      enoughBytes,
      layout.growth,
      room.framingBytes,
      numericRoomBytes,
      layout.partsDiffer ? layout.wholeBytes : mostPrintedBytes,
    );
  }

  /** The output holds enough to be taken, or ends as many records as can be noted. */
  get isFull(): boolean {
    const { out, endCount } = this.exports;
    return out.value >= this.outAt + enoughBytes || endCount.value >= mostEnds;
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

  /**
   * Whether a value of this column and length comes in parts.
   * @throws PipelineError `source-failed` when its type has none so long
   */
  isLong(column: number, bytes: number): boolean {
    const { kind } = this.#layout.columns[column]!;
    if (kind === kinds.byteaKind) return 2 * bytes + 2 > this.#layout.wholeBytes;
    if (!kinds.isBinaryKind(kind)) return bytes > this.#layout.wholeBytes;
    if (bytes > mostNumericSentBytes) throw nonsense();
    return false;
  }
}

/**
 * One Parquet file over all pages: `PAR1`, row groups, footer. A row group is written when its rows' values fill `rowGroup`, so
 * where it ends depends on the rows alone. Its bytes are the first of its records; the others, which lie in it, have none.
 *
 * Values are compressed by zstd inside the file, column by column, as its readers expect it.
 * Source: https://parquet.apache.org/docs/file-format/
 */
import { zstdCompressSync } from "node:zlib";
import type { SchemaElement } from "hyparquet";
import { ByteWriter, ParquetWriter } from "hyparquet-writer";
import { PipelineError } from "../../errors.ts";
import type { Column, Row, Tuple } from "../nouns.ts";
import { memberOf, refuseOtherKeys } from "./csv.ts";
import type { Format } from "./format.ts";
import { valueToJson } from "./json-text.ts";
import { describeColumn, toText, type ParquetColumn } from "./parquet-columns.ts";
import { createFooter, type Footer } from "./parquet-footer.ts";
import type { RecordBuffer } from "./record-buffer.ts";

/** A null, a boolean and their places weigh more in memory than in the file. */
const leastCellBytes = 2;

export const parquet = (rowGroupBytes: number): Format => ({
  extension: "parquet",
  namesOf: (row) => Object.keys(row),
  writer() {
    let file: ParquetFile | undefined;
    return {
      header(batch, out, columns) {
        requireNames(columns.length > 0 ? columns : batch.columns);
        file = new ParquetFile(columns.length > 0 ? columns : batch.columns, rowGroupBytes);
        file.take(out);
        out.end();
      },
      rows: () => (row, out) => file!.add(row, out),
      *rest(out) {
        file!.endGroup(out);
        yield false;
        for (const piece of file!.footer()) {
          out.bytes(piece);
          out.end();
          yield true;
        }
      },
      footer() {},
    };
  },
});

function requireNames(columns: readonly Column[]): void {
  const names = new Set(columns.map(({ name }) => toText(name)));
  if (names.size === columns.length && columns.length > 0) return;
  throw new PipelineError(
    "transform-failed",
    "serialize: a Parquet file needs columns, each with a name of its own; name them in the query or with `map`, and give a row at least where no query tells them",
  );
}

class ParquetFile {
  readonly #columns: readonly ParquetColumn[];
  readonly #names: readonly string[];
  readonly #rowGroupBytes: number;
  readonly #bytes = new ByteWriter(64 * 1024);
  readonly #writer: ParquetWriter;
  readonly #footer: Footer;
  #values: unknown[][];
  #valueBytes = 0;
  #rows = 0;
  #total = 0;

  constructor(columns: readonly Column[], rowGroupBytes: number) {
    this.#columns = columns.map(describeColumn);
    this.#names = columns.map(({ name }) => name);
    this.#rowGroupBytes = rowGroupBytes;
    const elements = this.#columns.map(({ element }) => element);
    const schema: SchemaElement[] = [
      { name: "schema", num_children: elements.length },
      ...elements,
    ];
    const compressors = { ZSTD: (input: Uint8Array) => zstdCompressSync(input) };
    this.#writer = new ParquetWriter({ writer: this.#bytes, schema, codec: "ZSTD", compressors });
    this.#footer = createFooter(schema.map(tellOlderReaders));
    this.#values = columns.map(() => []);
  }

  add(row: Tuple | Row, out: RecordBuffer): void {
    this.#total += 1;
    const isMember = !Array.isArray(row);
    if (isMember) refuseOtherKeys(row as Row, this.#names, this.#total);
    for (const [at, column] of this.#columns.entries()) {
      const cell = isMember ? memberOf(row as Row, this.#names[at]!) : (row as Tuple)[at];
      const value = this.#convert(cell, column, isMember);
      this.#values[at]!.push(value);
      this.#valueBytes += Math.max(leastCellBytes, bytesOf(value, column));
    }
    this.#rows += 1;
    if (this.#valueBytes >= this.#rowGroupBytes) this.endGroup(out);
  }

  endGroup(out: RecordBuffer): void {
    const rows = this.#rows;
    if (rows === 0) return;
    const columnData = this.#columns.map(({ element, statistics }, at) => {
      const data = this.#values[at]!;
      return {
        name: element.name,
        data,
        statistics: statistics && !data.some(Number.isNaN),
        offsetIndex: false,
        // The library's dictionaries hold one nought for both.
        ...(data.some(isMinusZero) && { encoding: "PLAIN" as const }),
      };
    });
    void this.#writer.write({ columnData, rowGroupSize: rows });
    for (const group of this.#writer.row_groups.splice(0)) this.#footer.add(group);
    this.#writer.pendingIndexes = [];
    this.take(out);
    for (let ended = 0; ended < rows; ended += 1) out.end();
    this.#values = this.#columns.map(() => []);
    [this.#rows, this.#valueBytes] = [0, 0];
  }

  footer(): Generator<Uint8Array> {
    return this.#footer.pieces(BigInt(this.#total));
  }

  /** Moves what is written; places in the file go on counting. */
  take(out: RecordBuffer): void {
    out.bytes(this.#bytes.getBytes());
    this.#bytes.index = 0;
  }

  #convert(cell: unknown, { element, convert }: ParquetColumn, isMember: boolean): unknown {
    if (cell === null || cell === undefined) return null;
    const value = convert(cell, isMember);
    if (value !== undefined) return value;
    // Where JSON has no form for a value (NaN, say, which a row function made), it is NULL in every format.
    if (valueToJson(cell) === "null") return null;
    throw new PipelineError(
      "transform-failed",
      `serialize: row ${this.#total} has a value in column ${JSON.stringify(element.name)} that a Parquet column of its type cannot hold (such as infinity, a zero date or a number of more bits); make a text of the column in the query`,
      { details: { row: this.#total, column: element.name } },
    );
  }
}

const isMinusZero = (value: unknown): boolean => Object.is(value, -0);

/** Of JSON the footer says so in the old words, too; told the same, the library would make JSON of the text again. */
const tellOlderReaders = (element: SchemaElement): SchemaElement =>
  element.logical_type?.type === "JSON" ? { ...element, converted_type: "JSON" } : element;

function bytesOf(value: unknown, { valueBytes }: ParquetColumn): number {
  if (typeof value === "string" || value instanceof Uint8Array) return valueBytes + value.length;
  return value === null ? 0 : valueBytes;
}

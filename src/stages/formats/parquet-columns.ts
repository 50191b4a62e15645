/**
 * What columns are in a Parquet file, and how cells become its values: exactly, or not at all.
 *
 * The source's own type decides. What Parquet has no exact type for (numbers without a stated precision, intervals, values of
 * sources without types) is a text, as CSV prints it.
 * Source: https://github.com/apache/parquet-format/blob/master/LogicalTypes.md
 */
import type { SchemaElement } from "hyparquet";
import { PipelineError } from "../../errors.ts";
import type { Column } from "../nouns.ts";
import { textOf } from "./csv.ts";
import { isJson, valueToJson } from "./json-text.ts";
import { parseDays, parseTimestamp } from "./parquet-times.ts";

/**
 * A cell, never null, as a value of the column; undefined where the column cannot hold it. What a source printed is
 * trusted to be of its type, but not a document's `member`, which a row function may have made.
 */
type Convert = (cell: unknown, isMember: boolean) => unknown;

export interface ParquetColumn {
  readonly element: SchemaElement;
  readonly convert: Convert;
  /** Bytes of a value as it is written plainly, for those that are no texts or bytes. */
  readonly valueBytes: number;
  /**
   * Whether row groups say the least and the greatest value: those of JSON would be whole documents. Never where some are NaN,
   * which is neither: readers to whom it is the greatest of all would pass the group by.
   */
  readonly statistics: boolean;
}

const mostDecimalDigits = 38;
const mostInt64Digits = 18;

const int32 = new Set([
  "int2",
  "int4",
  "tinyint",
  "smallint",
  "mediumint",
  "int",
  "integer",
  "year",
]);
const small = new Set([
  "tinyint unsigned",
  "smallint unsigned",
  "mediumint unsigned",
  "utinyint",
  "usmallint",
]);
const int64 = new Set(["int8", "bigint", "int unsigned", "uinteger"]);
const unsigned = new Set(["bigint unsigned", "ubigint", "bit"]);
const bytes = new Set([
  "bytea",
  "binary",
  "varbinary",
  "tinyblob",
  "blob",
  "mediumblob",
  "longblob",
]);

export function describeColumn(column: Column): ParquetColumn {
  switch (column.json) {
    case "boolean":
      return fixed(column, { type: "BOOLEAN" }, 1, toBoolean);
    case "timestamp":
    case "timestamptz":
      return timestamp(column);
    case "json":
      return json(column);
    case "number":
      return number(column);
    case "string":
      if (column.type === "date")
        return fixed(column, { type: "INT32", converted_type: "DATE" }, 4, parseDays);
      return bytes.has(column.type)
        ? fixed(column, { type: "BYTE_ARRAY" }, 4, toBytes)
        : text(column);
    case "value":
    case "jsonValue":
      break;
  }
  return text(column);
}

type Kind = Omit<SchemaElement, "name" | "repetition_type">;

const fixed = (
  { name }: Column,
  kind: Kind,
  valueBytes: number,
  convert: Convert,
  statistics = true,
): ParquetColumn => ({
  element: { name, repetition_type: "OPTIONAL", ...kind },
  convert,
  valueBytes,
  statistics,
});

const text = (column: Column): ParquetColumn =>
  fixed(column, { type: "BYTE_ARRAY", converted_type: "UTF8" }, 4, toText);

const json = (column: Column): ParquetColumn =>
  fixed(column, { type: "BYTE_ARRAY", logical_type: { type: "JSON" } }, 4, toJsonBytes, false);

function number(column: Column): ParquetColumn {
  const { type } = column;
  if (int32.has(type) || small.has(type)) return fixed(column, { type: "INT32" }, 4, toInt32);
  if (int64.has(type))
    return fixed(column, { type: "INT64" }, 8, toInteger(-(2n ** 63n), 2n ** 63n));
  if (unsigned.has(type))
    return fixed(column, { type: "INT64", converted_type: "UINT_64" }, 8, toInteger(0n, 2n ** 64n));
  // FLOAT of MySQL and DuckDB has 32 bits; PostgreSQL's types say so themselves.
  if (type === "float4" || type === "float") return fixed(column, { type: "FLOAT" }, 4, toFloat);
  if (type === "float8" || type === "double") return fixed(column, { type: "DOUBLE" }, 8, toDouble);
  const [, precision, scale] = /^decimal\((\d+),(\d+)\)$/.exec(type) ?? [];
  if (precision !== undefined && Number(precision) <= mostDecimalDigits)
    return decimal(column, Number(precision), Number(scale));
  return text(column);
}

function decimal(column: Column, precision: number, scale: number): ParquetColumn {
  const isShort = precision <= mostInt64Digits;
  const room: Kind = isShort
    ? { type: "INT64" }
    : { type: "FIXED_LEN_BYTE_ARRAY", type_length: 16 };
  const kind: Kind = { ...room, converted_type: "DECIMAL", precision, scale };
  return fixed(column, kind, isShort ? 8 : 16, toUnscaled(precision, scale));
}

function timestamp(column: Column): ParquetColumn {
  const isInstant = column.json === "timestamptz";
  const unit = column.type === "timestamp_ns" ? "NANOS" : "MICROS";
  const kind: Kind = {
    type: "INT64",
    ...(isInstant && { converted_type: "TIMESTAMP_MICROS" }),
    logical_type: { type: "TIMESTAMP", isAdjustedToUTC: isInstant, unit },
  };
  return fixed(column, kind, 8, (cell) => parseTimestamp(cell, unit, isInstant));
}

function toBoolean(cell: unknown): boolean | undefined {
  if (typeof cell === "boolean") return cell;
  if (cell === "t" || cell === "true") return true;
  return cell === "f" || cell === "false" ? false : undefined;
}

const wholeNumber = /^(?:0|-?[1-9]\d*)$/;
/** Of anything else, such as a list of one number, nothing. */
const printed = (cell: unknown): string =>
  typeof cell === "string" || typeof cell === "number" || typeof cell === "bigint" ? `${cell}` : "";

function toInt32(cell: unknown): number | undefined {
  const value = typeof cell === "string" && wholeNumber.test(cell) ? Number(cell) : cell;
  return typeof value === "number" && value === (value | 0) ? value : undefined;
}

function toInteger(least: bigint, beyond: bigint): Convert {
  return (cell) => {
    const digits = printed(cell);
    if (!wholeNumber.test(digits)) return undefined;
    const value = BigInt(digits);
    return value >= least && value < beyond ? value : undefined;
  };
}

const special = new Set(["NaN", "Infinity", "-Infinity"]);
const anyNumber = /^-?\d+(?:\.\d*)?(?:[eE][+-]?\d+)?$/;

function toDouble(cell: unknown): number | undefined {
  if (typeof cell === "string" && special.has(cell)) return Number(cell);
  const value = typeof cell === "string" && anyNumber.test(cell) ? Number(cell) : cell;
  return typeof value === "number" && Number.isFinite(value) ? value : undefined;
}

/** A text is short for its 32 bits (`0.1`), so it is rounded as its source would; a number has them, or is another one. */
function toFloat(cell: unknown): number | undefined {
  const value = toDouble(cell);
  if (value === undefined || !Number.isFinite(value)) return value;
  const float = Math.fround(value);
  const isHeld = typeof cell === "number" ? float === value : Number.isFinite(float);
  return isHeld && (float !== 0 || value === 0) ? float : undefined;
}

/** The digits without their point, as many behind it as the column has. */
function toUnscaled(precision: number, scale: number): Convert {
  return (cell) => {
    const [, sign = "", whole = "", digits = ""] =
      /^(-?)(\d+)(?:\.(\d+))?$/.exec(printed(cell)) ?? [];
    if (whole === "" || digits.length > scale) return undefined;
    const value = BigInt(whole + digits.padEnd(scale, "0"));
    return value < 10n ** BigInt(precision) ? (sign === "-" ? -value : value) : undefined;
  };
}

function toBytes(cell: unknown): Uint8Array | undefined {
  const isHex = typeof cell === "string" && /^\\x(?:[\da-f]{2})*$/.test(cell);
  return isHex ? Uint8Array.from(Buffer.from(cell.slice(2), "hex")) : undefined;
}

/** @throws PipelineError `transform-failed` for a text, a column's name too, that has no UTF-8 */
export function toText(cell: unknown): string | undefined {
  const value = textOf(cell) ?? undefined;
  if (value?.isWellFormed() !== false) return value;
  throw new PipelineError(
    "transform-failed",
    "serialize: a text holds half a surrogate pair, which no Parquet file can hold; NDJSON can",
  );
}

const encoder = new TextEncoder();
/** A text that is JSON goes out as it is, as `memberToJson` has it; any other value as its JSON. */
function toJsonBytes(cell: unknown, isMember: boolean): Uint8Array | undefined {
  const isStored = typeof cell === "string" && (!isMember || isJson(cell));
  const text = isStored ? toText(cell) : valueToJson(cell);
  return text === undefined || (text === "null" && !isStored) ? undefined : encoder.encode(text);
}

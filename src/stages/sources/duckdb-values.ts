/**
 * Columns of DuckDB, and their values as exact texts: those of scalars here, and what is made of them next door.
 */
import { PipelineError } from "../../errors.ts";
import type { Column, JsonForm } from "../nouns.ts";
import { bytesAt, type DuckDBType, type Library, type NestedType } from "./duckdb-library.ts";
import {
  arrayKind,
  type Kind,
  listKind,
  mapKind,
  type Print,
  structKind,
  unionKind,
} from "./duckdb-nested.ts";
import { jsonOf, printFloat, printNumber } from "./exact-texts.ts";
import { printDate, printOffset, printTime, printTimestamp } from "./duckdb-times.ts";

/** @throws PipelineError `source-refused` for a type that has no text of its own */
export function describeColumn(
  name: string,
  type: DuckDBType,
  library: Library,
): Column & { readonly print: Print } {
  const kind = kindOf(type, library);
  if (kind) return { name, ...kind };
  throw new PipelineError(
    "source-refused",
    `column ${JSON.stringify(name)} is of a type that has no exact text here; expected a cast of it in \`query\`, such as cast(… as varchar)`,
  );
}

type Scalar = (value: never) => string;

const scalar = (type: string, json: JsonForm, print: Scalar): Kind => ({
  type,
  json,
  print(vector, at) {
    const value = vector.getItem(at);
    return value === null ? null : print(value as never);
  },
});

const asText = (value: unknown): string => String(value);
const utf8: Print = (vector, at) => bytesAt(vector, at)?.toString() ?? null;
const printJson = jsonOf("DuckDB", "`NaN`, `Infinity`, a comma too many", "varchar");
const json: Print = (vector, at) => {
  const value = utf8(vector, at);
  return value === null ? null : printJson(value);
};
const hex: Print = (vector, at) => {
  const bytes = bytesAt(vector, at);
  return bytes && `\\x${bytes.toString("hex")}`;
};

type Seconds = { readonly seconds: bigint };
type Millis = { readonly millis: bigint };
type Micros = { readonly micros: bigint };
type Nanos = { readonly nanos: bigint };

const number = (type: string): Kind => scalar(type, "number", asText);
const string = (type: string): Kind => scalar(type, "string", asText);
const moment = (type: string, print: Scalar): Kind => scalar(type, "timestamp", print);

/** By the name of the type's id. */
const scalars: Readonly<Record<string, Kind>> = {
  BOOLEAN: scalar("bool", "boolean", (value: boolean) => (value ? "t" : "f")),
  TINYINT: number("tinyint"),
  SMALLINT: number("smallint"),
  INTEGER: number("integer"),
  BIGINT: number("bigint"),
  UTINYINT: number("utinyint"),
  USMALLINT: number("usmallint"),
  UINTEGER: number("uinteger"),
  UBIGINT: number("ubigint"),
  HUGEINT: number("hugeint"),
  UHUGEINT: number("uhugeint"),
  BIGNUM: number("bignum"),
  FLOAT: scalar("float", "number", printFloat),
  DOUBLE: scalar("double", "number", printNumber),
  VARCHAR: { type: "varchar", json: "string", print: utf8 },
  ENUM: string("enum"),
  UUID: string("uuid"),
  BIT: string("bit"),
  INTERVAL: string("interval"),
  SQLNULL: string("null"),
  BLOB: { type: "blob", json: "string", print: hex },
  DATE: scalar("date", "string", ({ days }: { days: number }) => printDate(days)),
  TIME: scalar("time", "string", ({ micros }: Micros) => printTime(micros, "us")),
  TIME_NS: scalar("time_ns", "string", ({ nanos }: Nanos) => printTime(nanos, "ns")),
  TIME_TZ: scalar(
    "timetz",
    "string",
    ({ micros, offset }: Micros & { offset: number }) =>
      printTime(micros, "us") + printOffset(offset),
  ),
  TIMESTAMP: moment("timestamp", ({ micros }: Micros) => printTimestamp(micros, "us")),
  TIMESTAMP_S: moment("timestamp_s", ({ seconds }: Seconds) => printTimestamp(seconds, "s")),
  TIMESTAMP_MS: moment("timestamp_ms", ({ millis }: Millis) => printTimestamp(millis, "ms")),
  TIMESTAMP_NS: moment("timestamp_ns", ({ nanos }: Nanos) => printTimestamp(nanos, "ns")),
  TIMESTAMP_TZ: scalar("timestamptz", "timestamptz", ({ micros }: Micros) =>
    printTimestamp(micros, "us", "+00"),
  ),
};

function kindOf(type: DuckDBType, library: Library): Kind | undefined {
  const id = library.DuckDBTypeId[type.typeId] ?? "";
  if (id === "VARCHAR" && type.alias === "JSON") return { type: "json", json: "json", print: json };
  const nested = type as NestedType;
  switch (id) {
    case "DECIMAL":
      return number(`decimal(${nested.width},${nested.scale})`);
    case "LIST":
      return listKind(kindOf(nested.valueType, library));
    case "ARRAY":
      return arrayKind(kindOf(nested.valueType, library), nested.length);
    case "STRUCT":
      return structKind(nested.entryNames, kindsOf(nested.entryTypes, library));
    case "MAP":
      return mapKind(kindOf(nested.keyType, library), kindOf(nested.valueType, library));
    case "UNION":
      return unionKind(nested.memberTags, kindsOf(nested.memberTypes, library));
    default:
      return scalars[id];
  }
}

function kindsOf(types: readonly DuckDBType[], library: Library): readonly Kind[] | undefined {
  const kinds = types.map((type) => kindOf(type, library));
  return kinds.every((kind) => kind !== undefined) ? kinds : undefined;
}

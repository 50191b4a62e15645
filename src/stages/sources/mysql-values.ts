/**
 * Columns of MySQL and MariaDB, and their values as exact texts.
 *
 * Rows come in the binary protocol: as text, servers print a FLOAT with six digits, which loses some. So numbers are printed
 * here, a FLOAT with as few digits as lead back to it.
 * Source: https://mariadb.com/kb/en/resultset-row/, https://mariadb.com/kb/en/result-set-packets/
 */
import { PipelineError } from "../../errors.ts";
import type { Column, JsonForm } from "../nouns.ts";
import { jsonOf, printFloat, printNumber } from "./exact-texts.ts";
import type { Field } from "./mysql-connection.ts";

/** A value as `mysql2` gives it, never null, to the text of its column. */
export type Print = (value: never) => string;

interface Kind {
  readonly type: string;
  readonly json: JsonForm;
  readonly print: Print;
}

const code = {
  decimal: 0,
  tiny: 1,
  short: 2,
  long: 3,
  float: 4,
  double: 5,
  null: 6,
  timestamp: 7,
  longlong: 8,
  int24: 9,
  date: 10,
  time: 11,
  datetime: 12,
  year: 13,
  newdate: 14,
  bit: 16,
  json: 245,
  newdecimal: 246,
} as const;
const texts: Readonly<Record<number, readonly [text: string, bytes: string]>> = {
  15: ["varchar", "varbinary"],
  249: ["tinytext", "tinyblob"],
  250: ["mediumtext", "mediumblob"],
  251: ["longtext", "longblob"],
  252: ["text", "blob"],
  253: ["varchar", "varbinary"],
  254: ["char", "binary"],
};
const flag = { unsigned: 32, enum: 256, set: 2048 };
/** The character set of what is not text. */
const binary = 63;

const asIs = (value: string): string => value;
const asText = (value: unknown): string => String(value);
const printBytes = (value: Buffer): string => `\\x${value.toString("hex")}`;
const printBits = (value: Buffer): string =>
  value.length === 0 ? "0" : BigInt(`0x${value.toString("hex")}`).toString();

const printJson = jsonOf("the server", '`1.`, `"\\q"`', "char");

/** ZEROFILL pads a DECIMAL with noughts; a number has none before its first digit. */
const printDecimal = (value: string): string => value.replace(/^0+(?=\d)/, "");

/** Digits after the second that are noughts are not sent, but are of the value. */
const withDigits =
  (decimals: number, after = "") =>
  (value: string): string => {
    if (decimals < 1 || decimals > 6) return value + after;
    const [whole = "", digits = ""] = value.split(".");
    return `${whole}.${digits.padEnd(decimals, "0")}${after}`;
  };

/** An instant, for the session's time zone is UTC; the zero timestamp is none. */
function printInstant(decimals: number): (value: string) => string {
  const [plain, instant] = [withDigits(decimals), withDigits(decimals, "+00")];
  return (value) => (value.startsWith("0000-00-00") ? plain(value) : instant(value));
}

const number = (type: string, print: Print): Kind => ({ type, json: "number", print });
const integers: Readonly<Record<number, string>> = {
  [code.tiny]: "tinyint",
  [code.short]: "smallint",
  [code.int24]: "mediumint",
  [code.long]: "int",
  [code.longlong]: "bigint",
};

/** @throws PipelineError `source-refused` for a type whose bytes only the server understands */
export function describeField(field: Field): Column & { readonly print: Print } {
  const { name } = field;
  const { type, json, print } = kindOf(field);
  return { name, type, json, print };
}

function kindOf(field: Field): Kind {
  const { columnType, decimals } = field;
  const integer = integers[columnType];
  if (integer) return number(integer + (field.flags & flag.unsigned ? " unsigned" : ""), asText);
  switch (columnType) {
    case code.decimal:
    case code.newdecimal:
      return number(decimalType(field), printDecimal);
    case code.float:
      return number("float", printFloat);
    case code.double:
      return number("double", printNumber);
    case code.year:
      return number("year", asText);
    case code.bit:
      return number("bit", printBits);
    case code.date:
    case code.newdate:
      return { type: "date", json: "string", print: asIs };
    case code.time:
      return { type: "time", json: "string", print: withDigits(decimals) };
    case code.datetime:
      return { type: "datetime", json: "timestamp", print: withDigits(decimals) };
    case code.timestamp:
      return { type: "timestamp", json: "timestamptz", print: printInstant(decimals) };
    case code.json:
      return { type: "json", json: "json", print: printJson };
    case code.null:
      return { type: "null", json: "string", print: asText };
    default:
      return textKind(field);
  }
}

function textKind({ name, columnType, flags, characterSet, extendedFormat }: Field): Kind {
  const types = texts[columnType];
  if (!types)
    throw new PipelineError(
      "source-refused",
      `column ${JSON.stringify(name)} is of a type that only the server understands; expected ST_AsText(…), ST_AsWKB(…) or VEC_ToText(…) of it in \`query\``,
    );
  if (extendedFormat === "json") return { type: "json", json: "json", print: printJson };
  if (characterSet === binary) return { type: types[1], json: "string", print: printBytes };
  const type = flags & flag.enum ? "enum" : flags & flag.set ? "set" : types[0];
  return { type, json: "string", print: asIs };
}

/** Its length counts a point and a sign beside the digits. */
function decimalType({ columnLength, decimals, flags }: Field): string {
  const signs = (decimals > 0 ? 1 : 0) + (flags & flag.unsigned ? 0 : 1);
  return `decimal(${columnLength - signs},${decimals})`;
}

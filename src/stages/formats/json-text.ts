/**
 * Cells to JSON text, exactly as PostgreSQL's `row_to_json` prints them.
 * Source: PostgreSQL `src/backend/utils/adt/json.c`, functions `datum_to_json_internal` and `JsonEncodeDateTime`.
 */
import type { Column, JsonForm } from "../nouns.ts";

const jsonNumber = /^-?(?:0|[1-9]\d*)(?:\.\d+)?(?:[eE][+-]?\d+)?$/;
const postgresTimestamp =
  /^(\d{4,}-\d\d-\d\d) (\d\d:\d\d:\d\d(?:\.\d+)?)([+-]\d\d(?::\d\d){0,2})?( BC)?$/;
const usualTimestamp = /^\d{4}-\d\d-\d\d \d\d:\d\d:\d\d(?:\.\d+)?(?:[+-]\d\d)?$/;

const quote = (text: string): string => JSON.stringify(text);
export const isJsonNumber = (text: string): boolean => jsonNumber.test(text);
const number = (text: string): string => (isJsonNumber(text) ? text : quote(text));
const boolean = (text: string): string =>
  text === "t" || text === "true"
    ? "true"
    : text === "f" || text === "false"
      ? "false"
      : quote(text);

/** JSON text on one line: raw line breaks are only legal between tokens, where a space means the same. */
const oneLine = (text: string): string => escapeHalves(text.replace(/[\r\n]/g, " "));

/** Half a surrogate pair has no UTF-8; in JSON it can only stand in a string, where an escape means the same. */
const escapeHalves = (text: string): string =>
  text.isWellFormed()
    ? text
    : text.replace(/\p{Surrogate}/gu, (half) => `\\u${half.charCodeAt(0).toString(16)}`);

/** A timestamp of four-digit years, its zone, if any, in whole hours: what nearly all are. */
export const isUsualTimestamp = (text: string): boolean => usualTimestamp.test(text);

/** `2024-01-02 03:04:05.123456+00` → `"2024-01-02T03:04:05.123456+00:00"`; infinity and the like stay as they are. */
function timestampToJson(text: string): string {
  const match = postgresTimestamp.exec(text);
  if (!match) return quote(text);
  const [, date, time, zone = "", era = ""] = match;
  const fullZone = zone.length === 3 ? `${zone}:00` : zone;
  return `"${date}T${time}${fullZone}${era}"`;
}

/** A JavaScript value as JSON; big integers keep every digit. */
export function valueToJson(value: unknown): string {
  if (typeof value === "bigint") return value.toString();
  // A replacer makes stringify slow: it is tried without, and a bigint somewhere inside is a TypeError.
  try {
    return JSON.stringify(value) ?? "null";
  } catch (error) {
    if (error instanceof TypeError) return JSON.stringify(value, exactBigInt) ?? "null";
    throw error;
  }
}

// JSON.rawJSON is newer than TypeScript's library of types.
const { rawJSON: rawJson } = JSON as unknown as { rawJSON: (text: string) => unknown };

function exactBigInt(_key: string, value: unknown): unknown {
  return typeof value === "bigint" ? rawJson(value.toString()) : value;
}

const jsonOrString = (text: string): string => (isJson(text) ? oneLine(text) : quote(text));

const fromText: Record<Exclude<JsonForm, "value">, (text: string) => string> = {
  string: quote,
  number,
  boolean,
  json: oneLine,
  timestamp: timestampToJson,
  timestamptz: timestampToJson,
  jsonValue: jsonOrString,
};

/** The function that turns one cell of a column into JSON text. */
export function cellToJson(column: Column): (cell: unknown) => string {
  if (column.json === "value") return (cell) => valueToJson(cell ?? null);
  if (column.json === "jsonValue") return memberToJson(column);
  const convert = fromText[column.json];
  return (cell) => (cell === null || cell === undefined ? "null" : convert(cell as string));
}

/**
 * The function that turns one named value of a document into JSON text. A text under a source column's name keeps
 * that column's form as long as it still is one; anything else is what `JSON.stringify` makes of it.
 */
export function memberToJson(column: Column | undefined): (value: unknown) => string {
  if (!column || column.json === "value" || column.json === "string") return valueToJson;
  const checked = column.json === "json" ? jsonOrString : fromText[column.json];
  return (value) => (typeof value === "string" ? checked(value) : valueToJson(value));
}

export function isJson(text: string): boolean {
  try {
    JSON.parse(text);
    return true;
  } catch {
    return false;
  }
}

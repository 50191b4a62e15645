/**
 * What a record says as what a column of SQLite holds: exactly, or not at all. A column's declared type says how SQLite
 * would convert a value (its affinity, https://www.sqlite.org/datatype3.html), and it would round without a word.
 */
import type { SQLInputValue } from "node:sqlite";
import { isSameNumber } from "../sources/json-values.ts";
import { parse } from "./record-members.ts";
import { refusedPage } from "./table.ts";

/** `any` converts nothing; `number` is an INTEGER or a REAL, whichever is the value. */
export type ValueForm = "text" | "number" | "real" | "blob" | "json" | "any";

/** The form of a column by its declared type; only a STRICT table knows ANY. */
export function formOf(declared: string, isStrict: boolean): ValueForm {
  const type = declared.toUpperCase();
  if (type === "JSON" || type === "JSONB") return "json";
  if (type === "" || (type === "ANY" && isStrict)) return "any";
  if (type.includes("INT")) return "number";
  if (/CHAR|CLOB|TEXT/.test(type)) return "text";
  if (type.includes("BLOB")) return "blob";
  return /REAL|FLOA|DOUB/.test(type) ? "real" : "number";
}

/**
 * The value to bind, of a JSON text.
 * @throws PipelineError `destination-refused` where the column could not hold it as it is
 */
export function readValue(text: string, form: ValueForm, column: string): SQLInputValue {
  const [first] = text;
  if (first === "n") return null;
  if (first === '"') return form === "json" ? text : readText(stringOf(text, column), form, column);
  if (first === "{" || first === "[" || form === "text") return text;
  if (first === "t" || first === "f") return form === "json" ? text : BigInt(first === "t");
  return form === "real" ? doubleOf(text, column) : numberOf(text, column);
}

function stringOf(text: string, column: string): string {
  if (!text.includes("\\")) return text.slice(1, -1);
  const value = parse(text) as string;
  if (value.isWellFormed()) return value;
  throw refusedPage(`a text for ${column} holds half a surrogate pair, which UTF-8 has not`);
}

/** Bytes as PostgreSQL and the source `sqlite` print them. */
const bytesText = /^\\x(?:[0-9a-f]{2})*$/i;

/** What SQLite takes for a number where a column is one. */
const numericText = /^[ \t-\r]*[-+]?(?:\d+(?:\.\d*)?|\.\d+)(?:[eE][-+]?\d+)?[ \t-\r]*$/;

/** SQLite takes a text for a number up to its first NUL, and forgets the rest. */
const cutNumber = (column: string) =>
  refusedPage(
    `a text for ${column} is a number followed by a NUL, of which SQLite keeps the number alone; declare the column TEXT`,
  );

const infinities: Readonly<Record<string, number>> = {
  Infinity: Infinity,
  "-Infinity": -Infinity,
};

function readText(value: string, form: ValueForm, column: string): SQLInputValue {
  if (form === "blob" && bytesText.test(value)) return Buffer.from(value.slice(2), "hex");
  if (form !== "real" && form !== "number") return value;
  if (form === "real" && Object.hasOwn(infinities, value)) return infinities[value]!;
  if (!numericText.test(value)) {
    if (numericText.test(value.split("\0", 1)[0]!)) throw cutNumber(column);
    return value;
  }
  const number = value
    .trim()
    .replace(/^\+/, "")
    .replace(/^-?\./, (point) => point.replace(".", "0."))
    .replace(/\.(?=$|e)/i, "");
  return form === "real" ? doubleOf(number, column) : numberOf(number, column);
}

/** A column of doubles takes the nearest one, as it says. */
function doubleOf(text: string, column: string): number {
  const value = Number(text);
  if (Number.isFinite(value)) return value;
  throw refusedPage(`a number for ${column} is larger than a REAL; declare the column TEXT`);
}

function numberOf(text: string, column: string): bigint | number {
  if (/^-?\d{1,18}$/.test(text)) return BigInt(text);
  if (/^-?\d{19,40}$/.test(text)) {
    const value = BigInt(text);
    if (value === BigInt.asIntN(64, value)) return value;
  }
  const value = Number(text);
  // Up to 15 digits come back from a double as they were.
  if ((text.length <= 16 && !/e/i.test(text)) || isSameNumber(text, value)) return value;
  throw refusedPage(
    `a number for ${column} has more digits than an INTEGER or a REAL keeps; declare the column TEXT, or REAL to have it rounded`,
  );
}

/**
 * Values straight to the bytes of their JSON: the usual ones here, all others by way of `json-text.ts`, which says what
 * the bytes must be.
 */
import type { Column, JsonForm } from "../nouns.ts";
import {
  cellToJson,
  isJson,
  isJsonNumber,
  isUsualTimestamp,
  memberToJson,
  valueToJson,
} from "./json-text.ts";
import { createMarks, type RecordBuffer } from "./record-buffer.ts";
import { partsOf } from "./text-parts.ts";

/** Appends a value as JSON. */
export type JsonWriter = (value: unknown, out: RecordBuffer) => void;

const controls = String.fromCharCode(...Array(32).keys());
const escapes = {
  '"': '\\"',
  "\\": "\\\\",
  "\b": "\\b",
  "\f": "\\f",
  "\n": "\\n",
  "\r": "\\r",
  "\t": "\\t",
};
const escaped = createMarks(controls, escapes);
const lineBreaks = createMarks("\r\n");
const plain = createMarks("");

const ascii = (text: string) => new TextEncoder().encode(text);
const [nullBytes, trueBytes, falseBytes] = [ascii("null"), ascii("true"), ascii("false")];
const [quoteByte, timeByte, zoneMinutes] = [ascii('"'), ascii("T"), ascii(':00"')];
const [plus, minus, quoteCode] = [0x2b, 0x2d, 0x22];

/** Appends the JSON of a text of some form; false, and nothing appended, where the text is not a usual one. */
type UsualText = (text: string, out: RecordBuffer) => boolean;

const usualString: UsualText = (text, out) => out.usual(text, escaped, quoteCode);

const usualNumber: UsualText = (text, out) => isJsonNumber(text) && out.usual(text, plain);

const usualBoolean: UsualText = (text, out) => {
  if (text !== "t" && text !== "f") return false;
  out.bytes(text === "t" ? trueBytes : falseBytes);
  return true;
};

const usualJson: UsualText = (text, out) => out.usual(text, lineBreaks);

/** `2024-01-02 03:04:05.123456+00`: a `T` for the space, and the zone's minutes. */
const usualTimestamp: UsualText = (text, out) => {
  if (!isUsualTimestamp(text)) return false;
  const sign = text.charCodeAt(text.length - 3);
  out.bytes(quoteByte);
  out.part(text, 0, 10);
  out.bytes(timeByte);
  out.part(text, 11, text.length);
  out.bytes(sign === plus || sign === minus ? zoneMinutes : quoteByte);
  return true;
};

const usualTexts: Readonly<Record<JsonForm, UsualText>> = {
  value: usualString,
  string: usualString,
  number: usualNumber,
  boolean: usualBoolean,
  json: usualJson,
  timestamp: usualTimestamp,
  timestamptz: usualTimestamp,
  jsonValue: (text, out) => (isJson(text) ? usualJson : usualString)(text, out),
};

function writeString(text: string, out: RecordBuffer): void {
  out.bytes(quoteByte);
  for (const part of partsOf(text)) out.text(JSON.stringify(part).slice(1, -1));
  out.bytes(quoteByte);
}

/** Writes a cell of a column as `cellToJson` says. */
export const cellWriter = (column: Column): JsonWriter => writerOf(column.json, cellToJson(column));

/** Writes a named value of a document as `memberToJson` says. */
export const memberWriter = (column: Column | undefined): JsonWriter => {
  if (column?.json !== "json") return writerOf(column?.json ?? "value", memberToJson(column));
  const [asJson, asText] = [cellWriter(column), memberWriter(undefined)];
  return (value, out) =>
    typeof value === "string" && isJson(value) ? asJson(value, out) : asText(value, out);
};

function writerOf(form: JsonForm, toJson: (value: unknown) => string): JsonWriter {
  const usual = usualTexts[form];
  const isString = form === "value" || form === "string";
  return (value, out) => {
    if (typeof value === "string") {
      if (usual(value, out)) return;
      if (isString) writeString(value, out);
      else out.text(toJson(value));
    } else if (value === null || value === undefined) out.bytes(nullBytes);
    else if (typeof value === "boolean") out.bytes(value ? trueBytes : falseBytes);
    else if (typeof value === "number" && Number.isFinite(value)) out.usual(`${value}`, plain);
    else out.text(valueToJson(value));
  };
}

/**
 * JSON read without losing a digit: a number that JavaScript would print differently stays as its own text.
 *
 * Such a number becomes `JSON.rawJSON(text)`, which `JSON.stringify` prints as it stands; every other number is a
 * number. `__proto__` is a key like any other; of keys that repeat in one object the last wins, as in `JSON.parse`: to see them,
 * by counting names in text and value, took 35 to 45 % more of the processor's time.
 */

import { parseNames } from "./json-names.ts";

/** The part of `JSON` that TypeScript does not know yet (ECMAScript: JSON.parse source text access). */
const { rawJSON: rawJson } = JSON as unknown as { rawJSON(text: string): object };

/**
 * A number in a JSON text that may print differently: minus zero, 16 digits or more, a fraction or an exponent; but
 * not up to 8 digits, a point and up to 6 digits without a zero at the end, which a double always gives back. What
 * stands around it keeps most look-alikes inside strings (times, UUIDs) out; the rest only costs time.
 */
const suspectNumber =
  /[:,[\s](?!-?\d{1,8}\.\d{0,5}[1-9][,\]}\s])(-0|-?[1-9]\d{15,}|-?(?:0|[1-9]\d*)(?:\.\d+(?:[eE][-+]?\d+)?|[eE][-+]?\d+))(?=[,\]}\s])/g;

/** A JSON number from its text: a JavaScript number where that prints the same, else the raw text. */
export function exactNumber(text: string): number | object {
  const value = Number(text);
  return String(value) === text ? value : rawJson(text);
}

/**
 * `JSON.parse` with exact numbers.
 * @param spare whether a number is the same as its text, although it prints differently, and may stay a number
 * @throws SyntaxError with a piece of `text` in its message: never show it to anyone.
 */
export function parseExact(
  text: string,
  spare?: (source: string, value: number) => boolean,
): unknown {
  if (!holdsInexactNumber(text)) return parseNames(text);
  return parseNames(text, (_key, value, { source }) =>
    typeof value !== "number" || source === undefined || spare?.(source, value)
      ? value
      : exactNumber(source),
  );
}

/** Whether what `parseExact` threw says that the stack has no room for what may be good JSON: some 2000 levels. */
export const isTooDeep = (error: unknown): boolean => error instanceof RangeError;

function holdsInexactNumber(text: string): boolean {
  if (text.search(suspectNumber) < 0) return false;
  for (const [, number] of text.matchAll(suspectNumber)) {
    if (String(Number(number)) !== number) return true;
  }
  return false;
}

/** Whether a number has the value its text says. A reader wants values, not spellings: `1.50` is the number 1.5. */
export const isSameNumber = (source: string, value: number): boolean =>
  canonical(source) === canonical(String(value));

/** Sign, significant digits, and the power of ten of the last: `1.50` and `15e-1` are both `+15e-1`. */
function canonical(text: string): string {
  const match = /^(-?)(\d+)(?:\.(\d+))?(?:[eE]([+-]?\d+))?$/.exec(text);
  if (!match) return text;
  const [, sign, whole = "", fraction = "", exponent = "0"] = match;
  const digits = (whole + fraction).replace(/^0+/, "");
  const significant = digits.slice(0, endOfDigits(digits));
  if (significant === "") return "0";
  const power =
    BigInt(exponent) - BigInt(fraction.length) + BigInt(digits.length - significant.length);
  return `${sign}${significant}e${power}`;
}

/** Where the zeros at the end begin. By hand: a pattern would follow every run of zeros to its end, again and again. */
function endOfDigits(digits: string): number {
  let end = digits.length;
  while (digits[end - 1] === "0") end -= 1;
  return end;
}

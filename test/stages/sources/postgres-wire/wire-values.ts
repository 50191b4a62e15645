/** Values of every kind the walker writes: the text PostgreSQL prints, and the bytes it sends. */
import * as fc from "fast-check";
import type { TypedColumn } from "../../../../src/stages/sources/postgres-wire/record-layouts.ts";

export interface WireValue {
  readonly text: string;
  readonly bytes: Buffer;
}

export interface WireType extends Pick<TypedColumn, "oid" | "type" | "json"> {
  readonly values: fc.Arbitrary<WireValue>;
}

export const asText = (text: string): WireValue => ({ text, bytes: Buffer.from(text) });

const anyText = fc.oneof(
  { weight: 4, arbitrary: fc.string({ unit: "grapheme", maxLength: 40 }) },
  { weight: 2, arbitrary: fc.string({ unit: fc.constantFrom("\n", '"', "\\", ",", "\x01", "é") }) },
  { weight: 1, arbitrary: fc.nat(2000).map((n) => "x\t".repeat(n)) },
  { weight: 1, arbitrary: fc.constantFrom("", "\\.", "null", "\u2028", "\x7f") },
);

function integer(bits: 16 | 32 | 64): fc.Arbitrary<WireValue> {
  const most = 2n ** BigInt(bits - 1);
  const edges = fc.constantFrom(-most, most - 1n, 0n, -1n, 9n, 10n, 99n, 100n);
  const any = fc.bigInt({ min: -most, max: most - 1n });
  const digits = fc.nat(18).map((n) => BigInt.asIntN(bits, 10n ** BigInt(n)));
  return fc.oneof(any, edges, digits).map((value) => {
    const bytes = Buffer.alloc(8);
    bytes.writeBigInt64BE(value);
    return { text: String(value), bytes: bytes.subarray(8 - bits / 8) };
  });
}

/** `numeric_send`: digits in base 10000, none of them a leading or trailing zero. */
export function encodeNumeric(text: string): Buffer {
  const words: Record<string, number> = { NaN: 0xc000, Infinity: 0xd000, "-Infinity": 0xf000 };
  const isNegative = text.startsWith("-");
  const sign = words[text] ?? (isNegative ? 0x4000 : 0);
  const [whole = "", fraction = ""] = text in words ? [] : text.replace("-", "").split(".");
  const left = whole.padStart(Math.ceil(whole.length / 4) * 4, "0");
  const right = fraction.padEnd(Math.ceil(fraction.length / 4) * 4, "0");
  const digits = [...`${left}${right}`.matchAll(/\d{4}/g)].map(([four]) => Number(four));
  let weight = left.length / 4 - 1;
  while (digits[0] === 0) {
    digits.shift();
    weight -= 1;
  }
  while (digits.at(-1) === 0) digits.pop();
  const bytes = Buffer.alloc(8 + 2 * digits.length);
  bytes.writeUInt16BE(digits.length);
  bytes.writeInt16BE(digits.length === 0 ? 0 : weight, 2);
  bytes.writeUInt16BE(digits.length === 0 && sign === 0x4000 ? 0 : sign, 4);
  bytes.writeUInt16BE(fraction.length, 6);
  for (const [index, digit] of digits.entries()) bytes.writeUInt16BE(digit, 8 + 2 * index);
  return bytes;
}

const digitsOf = (least: number, most: number) =>
  fc.array(fc.nat(9), { minLength: least, maxLength: most }).map((digits) => digits.join(""));

const numericText = fc.oneof(
  fc.tuple(fc.boolean(), digitsOf(1, 30), digitsOf(0, 20)).map(([isNegative, whole, fraction]) => {
    const number = `${whole.replace(/^0+(?=\d)/, "")}${fraction && `.${fraction}`}`;
    return isNegative && /[1-9]/.test(number) ? `-${number}` : number;
  }),
  fc.constantFrom("NaN", "Infinity", "-Infinity", "0", "0.0000", "10000", "0.00001"),
  fc.nat(1000).map((n) => `1${"0".repeat(n)}.5`),
  fc.nat(1000).map((n) => `-0.${"0".repeat(n)}1`),
);

/** Years that JavaScript's dates know, counted as PostgreSQL does: there is no year 0. */
const moment = fc.record({
  days: fc.oneof(
    fc.integer({ min: -1_700_000, max: 99_000_000 }),
    fc.integer({ min: -20_000, max: 20_000 }),
  ),
  micros: fc.oneof(
    fc.bigInt({ min: 0n, max: 86_399_999_999n }),
    fc.nat(86_399).map((seconds) => BigInt(seconds) * 1_000_000n),
    fc.nat(863_999).map((tenths) => BigInt(tenths) * 100_000n),
  ),
});

const dayMillis = 86_400_000;
const epochDays = 10_957;

function dayText(days: number): { readonly day: string; readonly era: string } {
  const date = new Date((days + epochDays) * dayMillis);
  const year = date.getUTCFullYear();
  const two = (value: number) => String(value).padStart(2, "0");
  const shown = String(year > 0 ? year : 1 - year).padStart(4, "0");
  return {
    day: `${shown}-${two(date.getUTCMonth() + 1)}-${two(date.getUTCDate())}`,
    era: year > 0 ? "" : " BC",
  };
}

function timeText(micros: bigint): string {
  const seconds = Number(micros / 1_000_000n);
  const time = new Date(seconds * 1000).toISOString().slice(11, 19);
  const fraction = String(micros % 1_000_000n)
    .padStart(6, "0")
    .replace(/0+$/, "");
  return fraction ? `${time}.${fraction}` : time;
}

function int64(value: bigint): Buffer {
  const bytes = Buffer.alloc(8);
  bytes.writeBigInt64BE(value);
  return bytes;
}

const timestamps = (zone: string): fc.Arbitrary<WireValue> =>
  fc.oneof(
    moment.map(({ days, micros }) => {
      const { day, era } = dayText(days);
      return {
        text: `${day} ${timeText(micros)}${zone}${era}`,
        bytes: int64(BigInt(days) * 86_400_000_000n + micros),
      };
    }),
    fc.constantFrom(
      { text: "infinity", bytes: int64(2n ** 63n - 1n) },
      { text: "-infinity", bytes: int64(-(2n ** 63n)) },
    ),
  );

const dates: fc.Arbitrary<WireValue> = moment.map(({ days }) => {
  const { day, era } = dayText(days);
  return { text: `${day}${era}`, bytes: int64(BigInt(days)).subarray(4) };
});

const uuids = fc.uint8Array({ minLength: 16, maxLength: 16 }).map((array) => {
  const bytes = Buffer.from(array);
  const hex = bytes.toString("hex");
  const parts = [0, 8, 12, 16, 20].map((at, i, all) => hex.slice(at, all[i + 1]));
  return { text: parts.join("-"), bytes };
});

const byteas = fc.oneof(fc.uint8Array(), fc.uint8Array({ size: "large" })).map((array) => {
  const bytes = Buffer.from(array);
  return { text: `\\x${bytes.toString("hex")}`, bytes };
});

/** Every kind, by the type it is the kind of. */
export const wireTypes: readonly WireType[] = [
  {
    oid: 25,
    type: "text",
    json: "string",
    values: anyText.filter((t) => t.isWellFormed()).map(asText),
  },
  {
    oid: 701,
    type: "float8",
    json: "number",
    values: fc.constantFrom("NaN", "-Infinity", "Infinity", "-0", "1e+300", "0.1").map(asText),
  },
  {
    oid: 114,
    type: "json",
    json: "json",
    values: fc
      .json()
      .chain((json) => fc.constantFrom(json, `[1,\n${json}\r\n]`))
      .map(asText),
  },
  { oid: 3802, type: "jsonb", json: "json", values: fc.json().map(asText) },
  {
    oid: 16,
    type: "bool",
    json: "boolean",
    values: fc
      .boolean()
      .map((value) => ({ text: value ? "t" : "f", bytes: Buffer.from([value ? 1 : 0]) })),
  },
  { oid: 21, type: "int2", json: "number", values: integer(16) },
  { oid: 23, type: "int4", json: "number", values: integer(32) },
  { oid: 20, type: "int8", json: "number", values: integer(64) },
  {
    oid: 1700,
    type: "numeric",
    json: "number",
    values: numericText.map((text) => ({ text, bytes: encodeNumeric(text) })),
  },
  { oid: 2950, type: "uuid", json: "string", values: uuids },
  { oid: 1082, type: "date", json: "string", values: dates },
  { oid: 1114, type: "timestamp", json: "timestamp", values: timestamps("") },
  { oid: 1184, type: "timestamptz", json: "timestamptz", values: timestamps("+00") },
  { oid: 17, type: "bytea", json: "string", values: byteas },
];

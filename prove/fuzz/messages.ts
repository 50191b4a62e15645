/** Messages of a PostgreSQL server, valid ones, for a fuzzer to start from. */
import type { TypedColumn } from "../../src/stages/sources/postgres-wire/record-layouts.ts";
import type { Chance } from "./chance.ts";

export const int16 = (value: number) => Buffer.from([value >> 8, value & 255]);
export const int32 = (value: number) =>
  Buffer.concat([int16((value >> 16) & 0xffff), int16(value & 0xffff)]);
export const message = (type: string, ...body: readonly Buffer[]) => {
  const content = Buffer.concat(body);
  return Buffer.concat([Buffer.from(type), int32(4 + content.length), content]);
};
export const row = (...values: readonly (Buffer | null)[]) =>
  message(
    "D",
    int16(values.length),
    ...values.flatMap((value) => (value ? [int32(value.length), value] : [int32(-1)])),
  );
export const text = (value: string) => Buffer.from(value);

export const others = [
  message("N", text("SNOTICE\0C00000\0Mhello\0\0")),
  message("E", text("SERROR\0C22P02\0Minvalid\0\0")),
  message("C", text("SELECT 5\0")),
  message("Z", text("T")),
  message("S", text("TimeZone\0UTC\0")),
  message("1"),
  message("2"),
];

/** What a server says before it takes a query. */
export const greeting = [
  message("R", int32(0)),
  message("R", int32(10), text("SCRAM-SHA-256\0\0")),
  message("S", text("server_version\x0017.0\0")),
  message("K", int32(7), int32(8)),
  message(
    "T",
    int16(1),
    text("c\0"),
    int32(0),
    int16(0),
    int32(25),
    int16(-1),
    int32(-1),
    int16(0),
  ),
  message("t", int16(1), int32(25)),
  message("A", int32(1), text("channel\0payload\0")),
  message("G", Buffer.from([0]), int16(1), int16(0)),
  message("W", Buffer.from([0]), int16(0)),
];

/** Types whose binary form we print, and some that come as text. */
const types = [25, 701, 114, 3802, 16, 21, 23, 20, 1700, 2950, 1082, 1114, 1184, 17];
const fixedBytes: Readonly<Record<number, number>> = {
  16: 1,
  21: 2,
  23: 4,
  20: 8,
  2950: 16,
  1082: 4,
  1114: 8,
  1184: 8,
};

function valueOf(oid: number, chance: Chance): Buffer | null {
  if (chance.once(6)) return null;
  const fixed = fixedBytes[oid];
  if (fixed !== undefined)
    return chance.once(4) ? Buffer.alloc(fixed, chance.pick([0, 255, 127])) : chance.bytes(fixed);
  if (oid === 1700) return numericOf(chance);
  if (oid === 701) return text(chance.pick(["NaN", "-Infinity", "0.1", "1e+300", "-0"]));
  if (oid === 114 || oid === 3802) return text(chance.pick(['{"a":\n1}', "null", "[1,\r\n2]"]));
  const unit = chance.pick(["x", '"', "\n", "é,", "\x01", "\\"]);
  return text(unit.repeat(chance.below(chance.pick([4, 40, 400, chance.once(10) ? 40_000 : 4]))));
}

function numericOf(chance: Chance): Buffer {
  const digits = chance.below(6);
  const weight = chance.pick([
    0,
    1,
    -1,
    5,
    -5,
    100,
    chance.once(20) ? 32_767 : 2,
    chance.once(20) ? -32_768 : 0,
  ]);
  const sign = chance.pick([0, 0x4000, 0xc000, 0xd000, 0xf000]);
  const scale = chance.pick([0, 1, 4, 20, chance.once(20) ? 16_383 : 3]);
  const head = [digits, weight & 0xffff, sign, scale].map(int16);
  return Buffer.concat([
    ...head,
    ...Array.from({ length: digits }, () => int16(chance.below(10_000))),
  ]);
}

export function rowsOf(columns: readonly TypedColumn[], chance: Chance): Buffer {
  const messages = Array.from({ length: 1 + chance.below(5) }, () =>
    chance.once(5) ? chance.pick(others) : row(...columns.map(({ oid }) => valueOf(oid, chance))),
  );
  return Buffer.concat(messages);
}

export const columnsOf = (chance: Chance): readonly TypedColumn[] =>
  Array.from({ length: chance.below(5) }, (_, index) => {
    const oid = chance.pick(types);
    const json = oid === 701 ? "number" : oid === 114 || oid === 3802 ? "json" : "string";
    return { name: `c"${index}`, type: "t", oid, json };
  });

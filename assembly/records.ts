/**
 * PostgreSQL's DataRow messages to records, value by value, without a JavaScript object between.
 *
 * The memory is laid out by `record-machine.ts`, which tells it here once. Whole messages are walked by `writeRows`; for rows
 * that are longer than a read, the caller names what comes next.
 * Source: https://www.postgresql.org/docs/current/protocol-message-formats.html
 */
import { byteaKind, numericKind } from "../src/stages/sources/postgres-wire/value-kinds";
import { copy, int16, int32 } from "./memory";
import { numericBytes } from "./numbers";
import { closeParts, openParts, write, writeAs, writePartOf } from "./values";

export { describeCsv } from "./texts";

const dataRow: i32 = 0x44;
const rowHeadBytes: usize = 7;

/** What `writeRows` answers to bytes that are no rows, or rows of another count. */
const isNonsense: i32 = -1;
const isOtherCount: i32 = -2;
/** What `writeValues` answers to a value that is not written at once, for its length. */
const isTooLong: usize = 1;

// One column: kind, where what stands before it lies and how long it is, the same of what stands for NULL, and the length
// that all its values have, or 0.
const beforeAt: usize = 4;
const beforeLength: usize = 8;
const noneAt: usize = 12;
const noneLength: usize = 16;
const onlyLength: usize = 20;
const columnBytes: usize = 24;
let columns: usize = 0;
let columnCount: i32 = 0;
let between: usize = 0;
let betweenBytes: usize = 0;
let after: usize = 0;
let afterBytes: usize = 0;
let outStart: usize = 0;
let outEnd: usize = 0;
/** The output is full enough to be taken when it reaches this. */
let outEnough: usize = 0;
/** How many bytes one byte of a value may become, and room for all that is no value. */
let growth: usize = 0;
let framingBytes: usize = 0;
/** A numeric that may need more room than this is not written at once. */
let numericRoomBytes: usize = 0;
/** A value that prints longer is not written at once. */
let wholeBytes: usize = 0;
let ends: usize = 0;
let endsMost: i32 = 0;

/** No record has ended yet, in this output or an earlier one. */
let isFirst: bool = true;

/** Where the next byte of output goes. */
export let out: usize = 0;
/** Where whole records end, counted from the output's start: so many are noted at `ends`. */
export let endCount: i32 = 0;

export function describeColumns(at: usize, count: i32, json: bool): void {
  columns = at;
  columnCount = count;
  writeAs(json);
}

export function describeRecord(
  betweenAt: usize,
  betweenLength: usize,
  afterAt: usize,
  afterLength: usize,
): void {
  between = betweenAt;
  betweenBytes = betweenLength;
  after = afterAt;
  afterBytes = afterLength;
}

export function describeRoom(
  start: usize,
  end: usize,
  enough: usize,
  most: usize,
  framing: usize,
  numericRoom: usize,
  whole: usize,
): void {
  outStart = start;
  out = start;
  outEnd = end;
  outEnough = start + enough;
  growth = most;
  framingBytes = framing;
  numericRoomBytes = numericRoom;
  wholeBytes = whole;
}

export function describeEnds(at: usize, most: i32): void {
  ends = at;
  endsMost = most;
}

/**
 * Writes the rows that lie whole between `at` and `end`, until one might not fit, enough is written or another message comes.
 * Gives where it stopped, or why the bytes cannot be.
 */
export function writeRows(at: usize, end: usize): i32 {
  while (end - at >= rowHeadBytes && <i32>load<u8>(at) == dataRow) {
    const bytes = int32(at + 1);
    if (bytes < 6) return isNonsense;
    if (<usize>bytes >= end - at) break;
    if (int16(at + 5) != columnCount) return isOtherCount;
    if (out >= outEnough || endCount == endsMost) break;
    if ((<usize>bytes + 1) * growth + framingBytes > outEnd - out) break;
    const next = at + <usize>bytes + 1;
    const to = writeValues(afterBetween(), at + rowHeadBytes, next);
    if (to == 0) return isNonsense;
    if (to == isTooLong) break;
    out = to;
    endRecord();
    at = next;
  }
  return <i32>at;
}

/** Writes the values that lie between the two; gives where they end, 0 when lengths contradict each other, or `isTooLong`. */
function writeValues(to: usize, at: usize, end: usize): usize {
  const last = columns + <usize>columnCount * columnBytes;
  for (let column = columns; column < last; column += columnBytes) {
    if (end - at < 4) return 0;
    const bytes = int32(at);
    at += 4;
    to = copy(to, load<u32>(column, beforeAt), load<u32>(column, beforeLength));
    if (bytes < 0) {
      if (bytes != -1) return 0;
      to = copy(to, load<u32>(column, noneAt), load<u32>(column, noneLength));
      continue;
    }
    if (<usize>bytes > end - at || !hasLength(column, bytes)) return 0;
    const kind = load<i32>(column);
    if (printedBytes(kind, <usize>bytes) > wholeBytes) return isTooLong;
    if (kind == numericKind && numericBytes(at) > numericRoomBytes) return isTooLong;
    to = write(kind, to, at, at + <usize>bytes);
    if (to == 0) return 0;
    at += <usize>bytes;
  }
  return at == end ? to : 0;
}

function printedBytes(kind: i32, bytes: usize): usize {
  return kind == byteaKind ? 2 * bytes + 2 : bytes;
}

/** True when a value of the column may be as long. */
function hasLength(column: usize, bytes: i32): bool {
  const expected = load<i32>(column, onlyLength);
  return expected == 0 || expected == bytes;
}

function afterBetween(): usize {
  return isFirst ? out : copy(out, between, betweenBytes);
}

export function beginRecord(): void {
  out = afterBetween();
}

export function endRecord(): void {
  out = copy(out, after, afterBytes);
  store<u32>(ends + ((<usize>endCount) << 2), <u32>(out - outStart));
  endCount += 1;
  isFirst = false;
}

/** Keeps of the output only what lies behind `taken` bytes: the begun record. */
export function keepFrom(taken: usize): void {
  const left = out - outStart - taken;
  memory.copy(outStart, outStart + taken, left);
  out = outStart + left;
  endCount = 0;
}

function columnAt(index: i32): usize {
  return columns + <usize>index * columnBytes;
}

export function beginValue(index: i32): void {
  const column = columnAt(index);
  out = copy(out, load<u32>(column, beforeAt), load<u32>(column, beforeLength));
}

export function writeNull(index: i32): void {
  const column = columnAt(index);
  out = copy(out, load<u32>(column, noneAt), load<u32>(column, noneLength));
}

/** Writes a whole value; false when it can be none. */
export function writeValue(index: i32, at: usize, end: usize): bool {
  const column = columnAt(index);
  if (!hasLength(column, <i32>(end - at))) return false;
  const to = write(load<i32>(column), out, at, end);
  if (to != 0) out = to;
  return to != 0;
}

/** Writes what stands before a value that comes in parts. */
export function openLong(index: i32): void {
  out = openParts(load<i32>(columnAt(index)), out);
}

export function writePart(index: i32, at: usize, end: usize): void {
  out = writePartOf(load<i32>(columnAt(index)), out, at, end);
}

export function closeLong(index: i32): void {
  out = closeParts(load<i32>(columnAt(index)), out);
}

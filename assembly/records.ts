/**
 * PostgreSQL's DataRow messages to records, value by value, without a JavaScript object between.
 *
 * The memory is laid out by `record-machine.ts`, which tells it here once. Whole messages are walked by `writeRows`; for rows
 * that are longer than a read, the caller names what comes next.
 * Source: https://www.postgresql.org/docs/current/protocol-message-formats.html
 */
import { numericKind } from "../src/stages/sources/postgres-wire/value-kinds";
import { copy, int16, int32 } from "./memory";
import { numericBytes } from "./numbers";
import { closeParts, hasLength, openParts, write, writeAs, writePartOf } from "./values";

const dataRow: i32 = 0x44;
const rowHeadBytes: usize = 7;

/** What `writeRows` answers to bytes that are no rows, or rows of another count. */
const isNonsense: i32 = -1;
const isOtherCount: i32 = -2;

// One column: kind, where what stands before it lies and how long it is, and the same of what stands for NULL.
const columnBytes: usize = 20;
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
): void {
  outStart = start;
  out = start;
  outEnd = end;
  outEnough = start + enough;
  growth = most;
  framingBytes = framing;
  numericRoomBytes = numericRoom;
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
    const start = out;
    const next = at + <usize>bytes + 1;
    beginRecord();
    const stopped = writeValues(at + rowHeadBytes, next);
    if (stopped != next) {
      if (stopped == 0) return isNonsense;
      out = start;
      break;
    }
    endRecord();
    at = next;
  }
  return <i32>at;
}

/** Gives `end`; 0 when lengths contradict each other; 1 when a numeric needs more room than rows have. */
function writeValues(at: usize, end: usize): usize {
  let column = columns;
  for (let i = 0; i < columnCount; i += 1, column += columnBytes) {
    if (end - at < 4) return 0;
    const bytes = int32(at);
    at += 4;
    if (bytes < 0) {
      if (bytes != -1) return 0;
      out = copy(out, load<u32>(column + 4), load<u32>(column + 8));
      out = copy(out, load<u32>(column + 12), load<u32>(column + 16));
      continue;
    }
    if (<usize>bytes > end - at) return 0;
    out = copy(out, load<u32>(column + 4), load<u32>(column + 8));
    const kind = load<i32>(column);
    const next = at + <usize>bytes;
    if (!hasLength(kind, at, next)) return 0;
    if (kind == numericKind && numericBytes(at) > numericRoomBytes) return 1;
    out = write(kind, out, at, next);
    at = next;
  }
  return at == end ? end : 0;
}

export function beginRecord(): void {
  if (!isFirst) out = copy(out, between, betweenBytes);
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
  out = copy(out, load<u32>(column + 4), load<u32>(column + 8));
}

export function writeNull(index: i32): void {
  const column = columnAt(index);
  out = copy(out, load<u32>(column + 12), load<u32>(column + 16));
}

/** Writes a whole value; false when it cannot be one. */
export function writeValue(index: i32, at: usize, end: usize): bool {
  const kind = load<i32>(columnAt(index));
  if (!hasLength(kind, at, end)) return false;
  out = write(kind, out, at, end);
  return true;
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

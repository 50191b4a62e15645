/**
 * what: one JSON object a line, from a file or stdin · takes nothing / gives rows (documents)
 * holds: the longest line allowed as bytes, as text and as a row, two reads and one batch
 * order: as in the file
 * ends: a batch without rows that carries the proof; a last line needs no line feed; an empty file has no rows
 * fails: source-bad-data (with file:line), input-missing, source-refused, source-changed: fix the file;
 *   source-failed: try again
 */
import { isUtf8 } from "node:buffer";
import * as v from "valibot";
import { size, text } from "../atoms.ts";
import type { Row, RowBatch } from "../nouns.ts";
import { freeBuffer } from "../free-buffer.ts";
import { defineStage } from "../stage.ts";
import { badData, batchBytes, digestQuery, readBytes, readInput, rowBytes } from "./input-file.ts";
import { isTooDeep, parseExact } from "./json-values.ts";

/** Well under V8's longest string (512 MiB), so that no line can become an uncaught error. */
export const maxRecordLimit = 128 * 2 ** 20;

const mebibyte = 2 ** 20;

/**
 * What a plan counts for the largest record: so many MiB for a usual one (1 MiB), with JavaScript's compiler, which a file of
 * a single row takes too, so that a smaller one saves nothing; of a larger one, `times` what it is longer, since it is held as
 * bytes, text and row and on its way to the page (measured with rows of 1 and 2 MiB, of one and of two bytes a character).
 */
export const heldRecord = (maxRecord: number, usualMebibytes: number, times: number): number =>
  usualMebibytes * mebibyte + times * Math.max(0, maxRecord - mebibyte);

/** How large one record of an input may be. */
export const maxRecord = v.pipe(
  v.optional(v.pipe(size, v.maxValue(maxRecordLimit, "expected at most 128MiB")), "1MiB"),
  v.description("bytes of one record at most; a larger one is refused with its place"),
);

export const inputPath = v.pipe(text, v.description("file to read; `-` is stdin; required"));

const config = v.strictObject({ path: inputPath, maxRecord });

export const ndjson = defineStage({
  name: "ndjson",
  summary:
    "Reads one JSON object a line (NDJSON, JSON Lines) from a file or stdin; of members that repeat in one object the last counts.",
  config,
  shorthand: "path",
  takes: "nothing",
  gives: "rows",
  holds: ({ maxRecord }) => 4 * readBytes + batchBytes + heldRecord(maxRecord, 10.75, 8),
  open: ({ path, maxRecord }, ctx) =>
    readInput(path, digestQuery("ndjson", path), ctx, ({ name, bytes }) =>
      readNdjson(bytes, name, maxRecord),
    ),
});

const lineFeed = 10;
const byteOrderMark = "\ufeff";

interface Lines {
  readonly where: string;
  readonly maxRecord: number;
  /** Lines before the one that is read next. */
  done: number;
  rows: Row[];
  bytes: number;
}

/**
 * The objects of NDJSON bytes (https://github.com/ndjson/ndjson-spec), in batches of about 64 KiB of memory.
 * @throws PipelineError `source-bad-data` with `where:line`: not UTF-8, not JSON, not an object, too long.
 */
export async function* readNdjson(
  bytes: AsyncIterable<Uint8Array>,
  where: string,
  maxRecord: number,
): AsyncGenerator<RowBatch> {
  const lines: Lines = { where, maxRecord, done: 0, rows: [], bytes: 0 };
  let begun: Uint8Array[] = [];
  let begunBytes = 0;
  for await (const chunk of bytes) {
    const cut = chunk.lastIndexOf(lineFeed);
    if (cut >= 0) {
      begun.push(chunk.subarray(0, cut));
      const block = join(begun);
      begun = [];
      begunBytes = 0;
      yield* readLines(lines, block);
    }
    const rest = chunk.subarray(cut + 1);
    begun.push(rest);
    begunBytes += rest.length;
    if (begunBytes > maxRecord) throw tooLong(lines);
  }
  yield* readLines(lines, join(begun));
  if (lines.rows.length > 0) yield takeBatch(lines);
}

/** One block of `parts`, whose own memory goes at once: a wide line would lie there twice, until garbage is collected. */
function join(parts: readonly Uint8Array[]): Uint8Array {
  if (parts.length === 1) return parts[0]!;
  const block = Buffer.concat(parts);
  for (const part of parts) freeBuffer(part);
  return block;
}

/** Reads a block of whole lines without its last line feed; passes full batches on. */
function* readLines(lines: Lines, block: Uint8Array): Generator<RowBatch> {
  if (!isUtf8(block)) throw notUtf8(lines, block);
  let text = Buffer.from(block.buffer, block.byteOffset, block.length).toString("utf8");
  freeBuffer(block);
  const { length } = text;
  let start = lines.done === 0 && text.startsWith(byteOrderMark) ? 1 : 0;
  while (start <= length) {
    const next = text.indexOf("\n", start);
    const end = next < 0 ? length : next;
    readLine(lines, text.slice(start, end));
    lines.done += 1;
    start = end + 1;
    // The text of a wide row is not held beside the row while others work on that.
    if (end === length) text = "";
    if (lines.bytes >= batchBytes) yield takeBatch(lines);
  }
}

function readLine(lines: Lines, line: string): void {
  if (isBlank(line)) return;
  // A character takes at most three bytes of UTF-8, so most lines need no counting.
  if (line.length * 3 > lines.maxRecord && Buffer.byteLength(line) > lines.maxRecord) {
    throw tooLong(lines);
  }
  const row = parseLine(lines, line);
  if (typeof row !== "object" || row === null || Array.isArray(row)) {
    throw badLine(lines, "not a JSON object; expected {…} on every line");
  }
  lines.rows.push(row as Row);
  lines.bytes += rowBytes(line.length);
}

function isBlank(line: string): boolean {
  return line.length === 0 || (line.charCodeAt(0) <= 32 && /^[ \t\r]*$/.test(line));
}

function parseLine(lines: Lines, line: string): unknown {
  try {
    return parseExact(line);
  } catch (error) {
    // The parser's own message quotes the line; it must not travel.
    const what = isTooDeep(error) ? "nested too deep to be read" : "broken or cut off";
    throw badLine(lines, `${what}; expected one whole JSON object on the line`);
  }
}

function takeBatch(lines: Lines): RowBatch {
  const { rows, bytes } = lines;
  lines.rows = [];
  lines.bytes = 0;
  return { shape: "documents", columns: [], rows, bytes };
}

function notUtf8(lines: Lines, block: Uint8Array) {
  let start = 0;
  for (;;) {
    const next = block.indexOf(lineFeed, start);
    if (next < 0 || !isUtf8(block.subarray(start, next))) break;
    lines.done += 1;
    start = next + 1;
  }
  return badLine(lines, "not valid UTF-8");
}

function tooLong(lines: Lines) {
  return badLine(
    lines,
    `longer than maxRecord (${lines.maxRecord} bytes); raise it or split the record`,
  );
}

function badLine(lines: Lines, what: string) {
  return badData(`${lines.where}:${lines.done + 1}`, `line is ${what}`);
}

/**
 * what: the records of a CSV file or stdin (RFC 4180), read as PostgreSQL's COPY reads CSV · takes nothing / gives rows
 * holds: the largest record allowed as bytes and as cells, the cells of one read, one batch
 * order: as in the file
 * ends: a batch without rows that carries the proof; a header alone has no rows; no header where one is due is refused
 * fails: source-bad-data (with file:line), input-missing, source-refused, source-changed: fix the file;
 *   source-failed: try again
 */
import { isUtf8 } from "node:buffer";
import type { Parser } from "csv-parse";
import * as v from "valibot";
import { copyDialect, csvFields, refuseClashes, type CsvDialect } from "../formats/csv-dialect.ts";
import type { Column, RowBatch, Tuple } from "../nouns.ts";
import { defineStage } from "../stage.ts";
import { PipelineError } from "../../errors.ts";
import { badData, batchBytes, digestQuery, readBytes, readInput } from "./input-file.ts";
import { heldRecord, inputPath, maxRecord } from "./ndjson.ts";

const asCopyHas = <Field extends v.GenericSchema<string, string>>(field: Field, usual: string) =>
  v.pipe(v.optional(field, usual as never), v.description(v.getDescription(field) ?? ""));

/** What the CSV file looks like. What only writers are told, a line end or a byte order mark, is known when it is met. */
const shape = {
  delimiter: asCopyHas(csvFields.delimiter, copyDialect.delimiter),
  quote: asCopyHas(csvFields.quote, copyDialect.quote),
  header: v.pipe(
    v.optional(csvFields.header, copyDialect.header),
    v.description("whether the first record names the columns; without it they are column1, …"),
  ),
  null: asCopyHas(csvFields.null, copyDialect.null),
};

const fields = v.strictObject({ path: inputPath, ...shape, maxRecord });
const config = v.pipe(fields, refuseClashes<v.InferOutput<typeof fields>>());

export const csv = defineStage({
  name: "csv",
  summary:
    "Reads the records of a CSV file; an empty field is null, an empty quoted field is a text.",
  config,
  shorthand: "path",
  takes: "nothing",
  gives: "rows",
  holds: ({ maxRecord }) => 40 * readBytes + batchBytes + heldRecord(maxRecord, 8.25, 20),
  open: ({ path, maxRecord, ...dialect }, ctx) =>
    readInput(path, digestOf(path, dialect), ctx, ({ name, bytes }) =>
      readCsv(bytes, name, { ...dialect, maxRecord }),
    ),
});

type ReadDialect = Pick<CsvDialect, "delimiter" | "quote" | "header" | "null">;

export interface CsvShape extends ReadDialect {
  readonly maxRecord: number;
}

/** What is as COPY has it goes without saying. */
function digestOf(path: string, { delimiter, header, quote, null: none }: ReadDialect): string {
  const isUsual = quote === copyDialect.quote && none === copyDialect.null;
  return digestQuery("csv", path, delimiter, header, ...(isUsual ? [] : [quote, none]));
}

/**
 * The records of CSV bytes as tuples of texts and nulls, in batches of about 64 KiB of memory; the first batch
 * carries the columns even when there are no rows.
 * @throws PipelineError `source-bad-data`: not UTF-8, ragged, misplaced or open quotes, a record too large.
 */
export async function* readCsv(
  bytes: AsyncIterable<Uint8Array>,
  where: string,
  shape: CsvShape,
): AsyncGenerator<RowBatch> {
  const records: Tuple[] = [];
  const parser = await createParser(shape, records);
  const batches = createBatches(shape);
  const checkUtf8 = createUtf8Check();
  const checkNul = createNulCheck(shape.quote);
  try {
    for await (const chunk of bytes) {
      if (!checkUtf8(chunk)) throw badData(where, `not valid UTF-8 near line ${parser.info.lines}`);
      if (!checkNul(chunk))
        throw badData(where, `a NUL behind a quote near line ${parser.info.lines}`);
      await settle(where, (done) => parser.write(chunk, done));
      yield* batches.of(records.splice(0));
    }
    if (!checkUtf8(undefined)) throw badData(where, "ends in the middle of a UTF-8 character");
    await settle(where, (done) => parser.end(done));
    yield* batches.of(records.splice(0));
  } finally {
    parser.destroy();
  }
  if (shape.header && !batches.begun) throw badData(where, "empty; expected a header record");
}

/** The parser hands its records to `records` as soon as it has them; nothing is read from it as a stream. */
async function createParser(shape: CsvShape, records: Tuple[]): Promise<Parser> {
  const { delimiter, quote, null: none, maxRecord } = shape;
  const { Parser } = await import("csv-parse");
  const parser = new Parser({
    delimiter,
    quote,
    escape: quote,
    bom: true,
    record_delimiter: ["\r\n", "\n", "\r"],
    // Compared before a byte is added, and 0 would be no limit.
    max_record_size: Math.max(1, maxRecord - 1),
    cast: (text, { quoting }) => (text === none && !quoting ? null : text),
    on_record: (record: Tuple) => {
      records.push(record);
      return null;
    },
  });
  // Errors arrive by the callbacks of `write` and `end`; the event itself must not go unheard.
  return parser.on("error", () => {}).resume();
}

/** Waits until the parser has dealt with what `give` hands it. */
function settle(
  where: string,
  give: (done: (error?: Error | null) => void) => void,
): Promise<void> {
  return new Promise((resolve, reject) => {
    give((error) => {
      if (error) reject(explain(error, where));
      else resolve();
    });
  });
}

const sentences: Record<string, string> = {
  CSV_RECORD_INCONSISTENT_FIELDS_LENGTH: "has more or fewer fields than the first record",
  CSV_QUOTE_NOT_CLOSED: "has a quoted field that does not end (is the file cut off?)",
  CSV_INVALID_CLOSING_QUOTE: "has text after a closing quote; a quote inside a field is doubled",
  INVALID_OPENING_QUOTE: "has a quote inside a field that is not quoted",
  CSV_MAX_RECORD_SIZE: "is larger than maxRecord; raise it or check the quotes",
};

/** The parser's own messages quote the record; only its code and its line travel. */
function explain(error: unknown, where: string): PipelineError {
  const { code, lines: line } = error as { code?: unknown; lines?: unknown };
  if (typeof code !== "string") return badData(where, "cannot be read as CSV");
  return badData(
    typeof line === "number" ? `${where}:${line}` : where,
    `the record ${sentences[code] ?? "is not valid CSV"}`,
  );
}

/** Makes batches of records; the first record is the header where there is one. */
function createBatches(shape: CsvShape) {
  const { header } = shape;
  let columns: readonly Column[] | undefined;

  function* of(records: Tuple[]): Generator<RowBatch> {
    const [first] = records;
    if (!first) return;
    const isFirst = columns === undefined;
    columns ??= nameColumns(first, shape);
    let rows: Tuple[] = [];
    let bytes = 0;
    for (const record of isFirst && header ? records.slice(1) : records) {
      rows.push(record);
      bytes += tupleBytes(record);
      if (bytes < batchBytes) continue;
      yield { shape: "tuples", columns, rows, bytes };
      rows = [];
      bytes = 0;
    }
    if (isFirst || rows.length > 0) yield { shape: "tuples", columns, rows, bytes };
  }

  return {
    of,
    get begun() {
      return columns !== undefined;
    },
  };
}

/** A name is a text, also one that would stand for NULL below it. */
function nameColumns(first: Tuple, { header, null: none }: CsvShape): readonly Column[] {
  return first.map((cell, index) => ({
    name: header ? ((cell as string | null) ?? none) : `column${index + 1}`,
    type: "text",
    json: "string",
  }));
}

function tupleBytes(record: Tuple): number {
  let bytes = 32;
  for (const cell of record) bytes += cell === null ? 8 : 32 + (cell as string).length;
  return bytes;
}

/**
 * The parser takes a NUL behind a closing quote for the end of what it was given, and goes on with that quote's field.
 * Whether a quote closes only the parser knows, so a NUL behind any quote is refused.
 */
function createNulCheck(quoteText: string) {
  const quote = Buffer.from(quoteText).at(-1);
  let last: number | undefined;
  return (chunk: Uint8Array): boolean => {
    let isFine = !(last === quote && chunk[0] === 0);
    for (let at = chunk.indexOf(0, 1); at > 0 && isFine; at = chunk.indexOf(0, at + 1))
      isFine = chunk[at - 1] !== quote;
    last = chunk.at(-1) ?? last;
    return isFine;
  };
}

/** Checks bytes as they come; a character may be split between two chunks. `undefined` asks whether all was whole. */
function createUtf8Check() {
  let begun: Uint8Array = new Uint8Array(0);
  return (chunk: Uint8Array | undefined): boolean => {
    if (!chunk) return begun.length === 0;
    const all = begun.length === 0 ? chunk : Buffer.concat([begun, chunk]);
    const end = all.length - countUnfinished(all);
    begun = all.slice(end);
    return isUtf8(all.subarray(0, end));
  };
}

/** How many bytes at the end of `bytes` begin a UTF-8 character that is not complete yet. */
function countUnfinished(bytes: Uint8Array): number {
  for (let back = 1; back <= Math.min(3, bytes.length); back += 1) {
    const byte = bytes[bytes.length - back] as number;
    if (byte < 0x80) return 0;
    if (byte < 0xc0) continue;
    const needs = byte >= 0xf0 ? 4 : byte >= 0xe0 ? 3 : 2;
    return needs > back ? back : 0;
  }
  return 0;
}

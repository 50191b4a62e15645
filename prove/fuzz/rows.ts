/**
 * Fuzzed: files of JSON, NDJSON and CSV as sources, and records read back. Whatever is understood must be what an
 * independent reader understands, and the same however the bytes are cut.
 */
import assert from "node:assert/strict";
import { PipelineError } from "../../src/errors.ts";
import { copyDialect } from "../../src/stages/formats/csv-dialect.ts";
import { createCsvRecordParser, parseJsonRecord } from "../../src/readback/parse-record.ts";
import type { RowBatch } from "../../src/stages/nouns.ts";
import { readCsv } from "../../src/stages/sources/csv.ts";
import { readJson } from "../../src/stages/sources/json.ts";
import { readNdjson } from "../../src/stages/sources/ndjson.ts";
import { type Chance, cut, wordsOf } from "./chance.ts";
import type { FuzzClass } from "./fuzz-class.ts";

const parseCsvRecord = createCsvRecordParser(copyDialect);

const maxRecord = 64 * 1024;

async function* feed(pieces: readonly Buffer[]) {
  yield* pieces;
}

interface Read {
  readonly rows: readonly unknown[];
  readonly columns: readonly string[];
}

type Reader = (pieces: AsyncIterable<Uint8Array>) => AsyncIterable<RowBatch>;

async function readAll(reader: Reader, pieces: readonly Buffer[]): Promise<Read | PipelineError> {
  const rows: unknown[] = [];
  let columns: readonly string[] = [];
  try {
    for await (const batch of reader(feed(pieces))) {
      for (const row of batch.rows) rows.push(row);
      columns = batch.columns.map(({ name }) => name);
    }
  } catch (error) {
    if (!(error instanceof PipelineError)) throw error;
    assert.equal(error.code, "source-bad-data");
    assert.match(error.message, /^file\b/);
    return error;
  }
  return { rows, columns };
}

/** Reads whole and cut; gives the rows, or throws the refusal that both end with. */
async function readTwice(reader: Reader, bytes: Buffer, chance: Chance): Promise<Read> {
  const whole = await readAll(reader, [bytes]);
  if (chance.once(2)) {
    const pieces = await readAll(reader, cut(bytes, chance));
    const [isOne, isOther] = [whole, pieces].map((read) => read instanceof PipelineError);
    assert.equal(isOther, isOne, "cut and whole are understood alike");
    if (!isOne) assert.equal(JSON.stringify(pieces), JSON.stringify(whole));
  }
  if (whole instanceof PipelineError) throw whole;
  return whole;
}

const jsonWords = [
  ...'{}[]:,"\\\n\t '.split(""),
  ...wordsOf("true·false·null·-·1.5e3·1E400·-0·12345678901234567890·0.1000000000000000055"),
  ...wordsOf('"__proto__":·"constructor":{"prototype":{"x":1}},·{"a":·[{·]}·{},·\\u0000·\\ud800'),
  "\\udc00",
  "\u2028",
  "\ufeff",
  "\0",
  "\x1f",
  Buffer.from([0xc3]),
  Buffer.from([0xed, 0xa0, 0x80]),
];
const jsonRows = [
  '{"id":1,"text":"a \\"q\\" \\u00e9 é 🩺","list":[1,2,{"x":null}],"t":true}',
  '{"id":12345678901234567890,"n":-0.0,"__proto__":{"polluted":1},"constructor":1}',
  '{"":"","a":{"b":{"c":[[],{}]}},"when":"2026-01-01T00:00:00Z"}',
];

export function jsonFiles(): FuzzClass {
  const array = `[${jsonRows.join(",\n")}]`;
  const whole = [
    array,
    "[]",
    `{"meta":{"n":1},"data":{"rows":${array}},"tail":[1]}`,
    `\ufeff${array}\n`,
  ];
  return {
    seeds: { whole: whole.map((text) => Buffer.from(text)), words: jsonWords },
    async run(bytes, chance) {
      const pick = bytes.includes('"data"') ? "data.rows" : undefined;
      const read = await readTwice(
        (pieces) => readJson(pieces, "file", { pick, maxRecord }),
        bytes,
        chance,
      ).catch((error: unknown) => {
        refuseOnly(error, bytes, pick === undefined);
        throw error;
      });
      const document = parseExactly(bytes);
      const rows = pick ? (document as { data: { rows: unknown } }).data.rows : document;
      assert.equal(plainJson(read.rows), plainJson(rows));
    },
  };
}

/** A document that any reader takes is refused for its size, its depth or rows that are no objects alone. */
function refuseOnly(error: unknown, bytes: Buffer, isTop: boolean): void {
  if (!(error instanceof PipelineError) || !isTop) return;
  if (/maxRecord|nested deeper|not an object|array of objects|no array/.test(error.message)) return;
  let document: unknown;
  try {
    document = parseExactly(bytes);
  } catch {
    return;
  }
  assert.fail(`refused what JSON.parse takes as ${typeof document}: ${error.message}`);
}

/** As `JSON.parse` has it, but for bytes that are no UTF-8, and a mark that says which order bytes have. */
const parseExactly = (bytes: Buffer): unknown =>
  JSON.parse(new TextDecoder("utf-8", { fatal: true }).decode(bytes));

/** Numbers that are kept as texts of their own lose that here. */
const plainJson = (value: unknown): string => JSON.stringify(JSON.parse(JSON.stringify(value)));

export function ndjsonFiles(): FuzzClass {
  const whole = [`${jsonRows.join("\n")}\n`, `\ufeff${jsonRows.join("\r\n")}`, "\n\n{}\n \n"];
  return {
    seeds: {
      whole: whole.map((text) => Buffer.from(text)),
      words: [...jsonWords, "\r", "\r\n", "\n"],
    },
    async run(bytes, chance) {
      const reader: Reader = (pieces) => readNdjson(pieces, "file", maxRecord);
      const { rows } = await readTwice(reader, bytes, chance);
      const text = new TextDecoder("utf-8", { fatal: true }).decode(bytes);
      const lines = text.split("\n").filter((line) => !/^[ \t\r]*$/.test(line));
      assert.equal(plainJson(rows), plainJson(lines.map((line) => JSON.parse(line))));
    },
  };
}

const csvWords = [
  ...wordsOf(',·"·\n·\r·\r\n·""·"",""·\\.·;·\t· ·\ufeff·\u2028·\0·é'),
  "__proto__",
  "constructor",
  Buffer.from([0xff]),
  Buffer.from([0xf0, 0x9f]),
];

export function csvFiles(): FuzzClass {
  const whole = [
    'id,text,note\n1,"a ""q"", b",\n2,,""\n',
    '\ufeffa,b\r\n"two\r\nlines","\\."\r\n,\r\n',
    "__proto__,constructor\n1,2\n",
    'one\n""\n"x"\n',
  ];
  return {
    seeds: { whole: whole.map((text) => Buffer.from(text)), words: csvWords },
    async run(bytes, chance) {
      const header = !chance.once(4);
      const reader: Reader = (pieces) =>
        readCsv(pieces, "file", { ...copyDialect, header, maxRecord });
      const { rows, columns } = await readTwice(reader, bytes, chance);
      const all = header ? [columns, ...rows] : rows;
      const text = new TextDecoder("utf-8", { fatal: true }).decode(bytes);
      const expected = splitCsv(text);
      if (header && expected[0]) expected[0] = expected[0].map((name) => name ?? "");
      assert.deepEqual(all, expected);
    },
  };
}

/** RFC 4180 with any line end; what is empty is null, and `""` an empty text. A second look at what was understood. */
function splitCsv(text: string): (string | null)[][] {
  const field = /(?:"((?:[^"]|"")*)"|([^",\r\n]*))(,|\r\n|\n|\r|$)/y;
  const records: (string | null)[][] = [];
  let record: (string | null)[] = [];
  while (field.lastIndex < text.length || record.length > 0) {
    const [whole, quoted, plain, end] = field.exec(text) ?? assert.fail("this is no CSV");
    record.push(quoted === undefined ? plain || null : quoted.replaceAll('""', '"'));
    if (end === ",") continue;
    records.push(record);
    record = [];
    if (whole === "") break;
  }
  return records;
}

export function restoredRecords(): FuzzClass {
  return {
    seeds: {
      whole: [...jsonRows, 'a,"b ""q""",,""', '"two\nlines"'].map((text) => Buffer.from(text)),
      words: [...jsonWords, ...csvWords],
    },
    run(bytes) {
      const text = bytes.toString("utf8");
      if (text.startsWith("{")) JSON.stringify(parseJsonRecord(text));
      else parseCsvRecord(text);
    },
  };
}

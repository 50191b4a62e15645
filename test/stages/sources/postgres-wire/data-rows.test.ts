/** The walker alone: bytes in, records out, however the bytes are cut and however small the output is. */
import assert from "node:assert/strict";
import * as fc from "fast-check";
import { serialize } from "../../../../src/stages/formats/serialize.ts";
import type { Column } from "../../../../src/stages/nouns.ts";
import { RowWalker } from "../../../../src/stages/sources/postgres-wire/data-rows.ts";
import {
  recordLayouts,
  type TypedColumn,
} from "../../../../src/stages/sources/postgres-wire/record-layouts.ts";
import type { RecordLayout } from "../../../../src/stages/sources/postgres-wire/record-machine.ts";
import type { StageContext } from "../../../../src/stages/stage.ts";
import { stream, tupleBatches } from "../../../fixtures/pipelines.ts";
import { type Format, formats } from "./wire-records.ts";
import { asText, type WireValue, wireTypes } from "./wire-values.ts";

type Values = readonly (WireValue | null)[];

function message(type: string, body: Buffer): Buffer {
  const head = Buffer.alloc(5);
  head.write(type);
  head.writeInt32BE(4 + body.length, 1);
  return Buffer.concat([head, body]);
}

function int32(value: number): Buffer {
  const bytes = Buffer.alloc(4);
  bytes.writeInt32BE(value);
  return bytes;
}

function dataRow(values: Values): Buffer {
  const fields = values.map((value) =>
    value === null ? int32(-1) : Buffer.concat([int32(value.bytes.length), value.bytes]),
  );
  return message("D", Buffer.concat([int32(values.length).subarray(2), ...fields]));
}

const textRow = (texts: readonly (string | null)[]): Values =>
  texts.map((text) => (text === null ? null : asText(text)));

const notice = message("N", Buffer.from("SNOTICE\0C00000\0Mhello\0\0"));
const complete = message("C", Buffer.from("SELECT 5\0"));
const ready = message("Z", Buffer.from("T"));

interface Walked {
  readonly text: string;
  readonly records: readonly string[];
  readonly messages: readonly string[];
  /** Bytes of each part of a record that was handed over before its end. */
  readonly parts: readonly number[];
}

/** Feeds chunks as a socket would and takes the output as `readRecords` does. */
function walkAll(layout: RecordLayout, chunks: Iterable<Buffer>, capacity: number): Walked {
  const taken: Buffer[] = [];
  const ends: number[] = [];
  const parts: number[] = [];
  const messages: string[] = [];
  const walker = new RowWalker(layout, capacity, (bytes) => messages.push(bytes.toString("hex")));
  const { output } = walker;
  let length = 0;
  const take = () => {
    if (output.ends.length === 0 && output.length > 0) parts.push(output.length);
    for (const end of output.ends) ends.push(length + end);
    taken.push(Buffer.from(output.takeable));
    length += output.takeable.length;
    output.take();
  };
  for (const chunk of chunks) {
    for (let at = 0; at < chunk.length;) {
      const bytes = chunk.copy(walker.inlet, 0, at);
      at += bytes;
      walker.read(bytes);
      for (let stuck = 0; !walker.isEmpty; stuck += 1) {
        assert.ok(stuck < 100_000, "it goes on");
        take();
        walker.walk();
      }
    }
  }
  take();
  assert.equal(output.length, 0);
  assert.equal(output.records, ends.length);
  const all = Buffer.concat(taken);
  const records = ends.map((end, index) => all.toString("utf8", ends[index - 1] ?? 0, end));
  return { text: all.toString("utf8"), records, messages, parts };
}

/** What `serialize` makes of the same texts. */
async function serializeTexts(
  format: Format,
  columns: readonly Column[],
  rows: readonly Values[],
): Promise<string> {
  const parts: Buffer[] = [];
  const batches = serialize.open(
    { format },
    {} as StageContext,
    stream(
      tupleBatches(
        columns,
        rows.map((row) => row.map((value) => value && value.text)),
      ),
    ),
  );
  for await (const { bytes, framing } of batches) if (!framing) parts.push(Buffer.from(bytes));
  return Buffer.concat(parts).toString("utf8");
}

interface Case {
  readonly format: Format;
  readonly columns: readonly TypedColumn[];
  readonly rows: readonly Values[];
}

const anyCase: fc.Arbitrary<Case> = fc
  .array(fc.constantFrom(...wireTypes), { maxLength: 6 })
  .chain((types) =>
    fc.record({
      format: fc.constantFrom(...formats),
      columns: fc.constant(
        types.map(({ oid, type, json }, index) => ({ name: `c"${index % 4}`, oid, type, json })),
      ),
      rows: fc.array(fc.tuple(...types.map(({ values }) => fc.option(values, { freq: 6 }))), {
        maxLength: 12,
      }),
    }),
  );

/** Rows with other messages between them, cut at the given places. */
function* cutStream(rows: readonly Values[], cuts: readonly number[]): Generator<Buffer> {
  const bytes = Buffer.concat([
    ...rows.flatMap((row, index) => (index % 3 === 1 ? [notice, dataRow(row)] : [dataRow(row)])),
    complete,
    ready,
  ]);
  let start = 0;
  for (const cut of [...cuts.map((at) => at % bytes.length), bytes.length].toSorted(
    (a, b) => a - b,
  )) {
    if (cut > start) yield Buffer.from(bytes.subarray(start, cut));
    start = cut;
  }
}

async function assertWalks(
  { format, columns, rows }: Case,
  cuts: readonly number[],
  capacity: number,
) {
  const walked = walkAll(recordLayouts[format]!(columns), cutStream(rows, cuts), capacity);
  assert.equal(walked.text, await serializeTexts(format, columns, rows));
  assert.equal(walked.records.length, rows.length);
  const others = rows.filter((_row, index) => index % 3 === 1).map(() => notice);
  assert.deepEqual(
    walked.messages,
    [...others, complete, ready].map((bytes) => bytes.toString("hex")),
  );
  for (const bytes of walked.parts)
    assert.ok(bytes > capacity, `${bytes} of a page of ${capacity}`);
}

const textColumn = (name: string): TypedColumn => ({
  name,
  oid: 25,
  type: "text",
  json: "string",
});

describe("data rows", () => {
  it("become what serialize makes of them, cut anywhere, for outputs of any size", () =>
    fc.assert(
      fc.asyncProperty(
        anyCase,
        fc.array(fc.nat(), { maxLength: 20 }),
        fc.constantFrom(1, 100, 3000, 100_000),
        assertWalks,
      ),
      { numRuns: 500 },
    ));

  it("become the same when they come byte by byte", () =>
    fc.assert(
      fc.asyncProperty(anyCase, fc.constantFrom(1, 3000), (one, capacity) =>
        assertWalks(one, [...Array(60_000).keys()], capacity),
      ),
      { numRuns: 40 },
    ));

  it("pass in parts where a record is larger than the output, each part larger than a page", async () => {
    for (const format of formats) {
      for (const text of ["x", '"', "\n", "é,", "\x01"]) {
        const rows = [
          ["1", text.repeat(300_000), "end"],
          ["2", null, ""],
          ["3", "y", "z"],
        ].map(textRow);
        const columns = [textColumn("n"), textColumn("t"), textColumn("e")];
        const bytes = Buffer.concat(rows.map(dataRow));
        const chunks = Array.from({ length: Math.ceil(bytes.length / 65_536) }, (_, index) =>
          Buffer.from(bytes.subarray(index * 65_536, (index + 1) * 65_536)),
        );
        const walked = walkAll(recordLayouts[format]!(columns), chunks, 100_000);
        assert.equal(walked.text, await serializeTexts(format, columns, rows));
        assert.ok(walked.parts.length >= (format === "csv" ? 0 : 1));
        for (const part of walked.parts) assert.ok(part > 100_000);
      }
    }
  });

  it("keep room for what stands behind a value that fills the output to the brim", async () => {
    const columns = [textColumn("a"), textColumn("b")];
    for (const format of ["ndjson", "json"] as const) {
      for (let length = 257; length < 540; length += 1) {
        const rows = [
          ["\x01".repeat(length), null],
          ["\x01".repeat(length), "b"],
        ].map(textRow);
        const walked = walkAll(recordLayouts[format]!(columns), rows.map(dataRow), 10);
        assert.equal(walked.text, await serializeTexts(format, columns, rows));
      }
    }
  });

  it("are refused when their bytes contradict themselves, never read beyond their message", () => {
    const layout = recordLayouts["ndjson"]!([textColumn("a"), textColumn("b")]);
    const good = dataRow(textRow(["one", "two"]));
    const changed = (at: number, value: number) => {
      const bytes = Buffer.from(good);
      bytes.writeInt32BE(value, at);
      return bytes;
    };
    const bad: readonly [string, Buffer][] = [
      ["a message shorter than its length", changed(1, 3)],
      ["a message of a negative length", changed(1, -5)],
      ["a row shorter than its values", changed(1, 15)],
      ["a row longer than its values", Buffer.concat([changed(1, 24), Buffer.alloc(4)])],
      ["a value longer than the row", changed(7, 100)],
      ["a value of a negative length", changed(7, -2)],
      ["a value of the longest length", changed(7, 2 ** 31 - 1)],
      ["a row of another count", dataRow(textRow(["one"]))],
      ["a row without a count", message("D", Buffer.alloc(0))],
      ["a message of 2 GB that is no row", Buffer.from([0x53, 0x7f, 0xff, 0xff, 0xff])],
    ];
    for (const [what, bytes] of bad) {
      for (const cuts of [[bytes.length], [...bytes.keys()]]) {
        const chunks = cuts.map((at, index) => bytes.subarray(at, cuts[index + 1] ?? bytes.length));
        const whole = cuts.length === 1 ? [bytes, complete] : [...chunks, complete];
        assert.throws(() => walkAll(layout, whole, 1000), { code: "source-failed" }, what);
      }
    }
  });

  it("are refused when a binary value is longer than its type has, or a numeric is none", () => {
    const bytesOf = (hex: string) => ({ text: "", bytes: Buffer.from(hex, "hex") });
    const bad: readonly [number, WireValue][] = [
      [23, bytesOf("00")],
      [23, { text: "", bytes: Buffer.alloc(90_000) }],
      [1700, { text: "", bytes: Buffer.alloc(90_000) }],
      [1700, bytesOf("00010000000080000001")],
      [1700, bytesOf("00010000000000002710")],
      [1700, bytesOf("00020000000000000001")],
      [1184, bytesOf("00")],
    ];
    for (const [oid, value] of bad) {
      const layout = recordLayouts["ndjson"]!([{ ...textColumn("a"), oid }]);
      const bytes = dataRow([value]);
      for (const size of [5, bytes.length]) {
        const chunks = Array.from({ length: Math.ceil(bytes.length / size) }, (_, index) =>
          Buffer.from(bytes.subarray(index * size, (index + 1) * size)),
        );
        assert.throws(() => walkAll(layout, chunks, 1000), { code: "source-failed" });
      }
    }
  });

  it("may stand between errors and notices of any length, which are cut, never held", () => {
    const layout = recordLayouts["ndjson"]!([textColumn("a")]);
    const long = message("E", Buffer.from(`SERROR\0C22P02\0M${"x".repeat(3_000_000)}\0P12\0\0`));
    const bytes = Buffer.concat([dataRow(textRow(["1"])), long, dataRow(textRow(["2"])), ready]);
    for (const size of [7, 65_536, bytes.length]) {
      const chunks = Array.from({ length: Math.ceil(bytes.length / size) }, (_, index) =>
        Buffer.from(bytes.subarray(index * size, (index + 1) * size)),
      );
      const { text, messages } = walkAll(layout, chunks, 1000);
      assert.equal(text, '{"a":"1"}\n{"a":"2"}\n');
      const [error, last] = messages.map((hex) => Buffer.from(hex, "hex"));
      assert.equal(error!.length, 16 * 1024);
      assert.equal(error!.readInt32BE(1), error!.length - 1);
      assert.equal(error!.toString("latin1", 5, 18), "SERROR\0C22P02");
      assert.deepEqual(error!.subarray(-2), Buffer.alloc(2));
      assert.deepEqual(last, ready);
    }
  });

  it("leave the beginning of what follows them to who reads on, unless some of it was used", () => {
    const layout = recordLayouts["ndjson"]!([textColumn("a")]);
    const begunAfter = (chunks: readonly Buffer[]) => {
      const walker = new RowWalker(layout, 1000, () => {});
      for (const chunk of chunks) walker.read(chunk.copy(walker.inlet));
      return walker.begun && Buffer.from(walker.begun);
    };
    const answer = Buffer.concat([dataRow(textRow(["1"])), complete, ready]);
    for (let cut = 0; cut < notice.length; cut += 1) {
      const begun = notice.subarray(0, cut);
      assert.deepEqual(begunAfter([Buffer.concat([answer, begun])]), begun);
      assert.deepEqual(begunAfter([answer, begun]), begun);
    }
    const long = message("N", Buffer.alloc(100_000, "x"));
    assert.equal(begunAfter([answer, long.subarray(0, 60_000)]), undefined);
  });
});

/** The walker alone: bytes in, rows out, however the bytes are cut and however small the output is. */
import assert from "node:assert/strict";
import * as fc from "fast-check";
import {
  CopyWalker,
  type CopyHeader,
} from "../../../../src/stages/sources/postgres-copy/copy-walker.ts";

function message(type: string, body: Uint8Array): Buffer {
  const head = Buffer.alloc(5);
  head.write(type);
  head.writeInt32BE(4 + body.length, 1);
  return Buffer.concat([head, body]);
}

const signature = Buffer.from("PGCOPY\n\xff\r\n\0\0\0\0\0\0\0\0\0", "latin1");
const mark = Buffer.from([0xff, 0xff]);
const line = Buffer.from('a,"b ""\n"\n');
const opening = message("H", Buffer.alloc(7));
const done = message("c", Buffer.alloc(0));
const complete = message("C", Buffer.from("COPY 5\0"));
const ready = message("Z", Buffer.from("T"));

/** What a server sends for these rows. */
function answer(kind: CopyHeader, rows: readonly Uint8Array[]): Buffer {
  const header = kind === "binary" ? signature : Buffer.alloc(0);
  const [first = Buffer.alloc(0), ...others] = kind === "binary" ? [...rows, mark] : rows;
  const data = [...(kind === "line" ? [line] : []), Buffer.concat([header, first]), ...others];
  const sent = kind !== "binary" && rows.length === 0 ? data.slice(0, -1) : data;
  return Buffer.concat([opening, ...sent.map((row) => message("d", row)), done, complete, ready]);
}

interface Walked {
  readonly rows: readonly string[];
  readonly header: Buffer;
  readonly trailer: Buffer;
  readonly messages: string;
  /** Bytes of each part of a row that was handed over before its end. */
  readonly parts: readonly number[];
}

/** Feeds chunks as a socket would and takes the output as the stage does. */
function walkAll(kind: CopyHeader, chunks: readonly Buffer[], capacity: number): Walked {
  const taken: Buffer[] = [];
  const ends: number[] = [];
  const parts: number[] = [];
  let messages = "";
  let length = 0;
  const walker = new CopyWalker(kind, capacity, (bytes) => (messages += bytes.toString("latin1")));
  const { output } = walker;
  const take = () => {
    const { takeable } = output;
    if (output.ends.length === 0 && takeable.length > 0) parts.push(takeable.length);
    for (const end of output.ends) ends.push(length + end);
    taken.push(Buffer.from(takeable));
    length += takeable.length;
    output.take();
  };
  for (const chunk of chunks) {
    for (let at = 0; at < chunk.length;) {
      const bytes = chunk.copy(walker.inlet, 0, at);
      walker.read(bytes);
      for (let tries = 0; !walker.isEmpty; tries += 1) {
        assert.ok(tries < chunk.length, "it goes on");
        take();
        walker.walk();
      }
      at += bytes;
    }
  }
  take();
  assert.equal(output.takeable.length, 0);
  assert.equal(output.records, ends.length);
  const all = Buffer.concat(taken);
  const rows = ends.map((end, index) => all.toString("latin1", ends[index - 1] ?? 0, end));
  const [header, trailer] = [Buffer.from(walker.header), Buffer.from(walker.trailer)];
  return { rows, header, trailer, messages, parts };
}

function cutAt(bytes: Buffer, cuts: readonly number[]): Buffer[] {
  const places = [0, ...cuts.map((cut) => cut % (bytes.length + 1)), bytes.length];
  const sorted = places.toSorted((a, b) => a - b);
  return sorted.slice(1).map((end, index) => bytes.subarray(sorted[index], end));
}

const headerOf = { none: Buffer.alloc(0), line, binary: signature };
const trailerOf = { none: Buffer.alloc(0), line: Buffer.alloc(0), binary: mark };
const others = Buffer.concat([opening, done, complete, ready]).toString("latin1");

function check(kind: CopyHeader, rows: readonly Uint8Array[], chunks: Buffer[], capacity: number) {
  const walked = walkAll(kind, chunks, capacity);
  assert.deepEqual(
    walked.rows,
    rows.map((row) => Buffer.from(row).toString("latin1")),
  );
  assert.ok(walked.header.equals(headerOf[kind]));
  assert.ok(walked.trailer.equals(trailerOf[kind]));
  assert.equal(walked.messages, others);
  for (const part of walked.parts) assert.ok(part >= capacity);
}

const anyRow = fc.oneof(
  fc.uint8Array({ minLength: 1, maxLength: 40 }),
  fc.nat(3000).map((bytes) => new Uint8Array(bytes + 1).fill(65)),
  fc.constantFrom(Uint8Array.of(0, 0), Uint8Array.of(10), Uint8Array.of(0xff, 0xfe)),
);
const kinds = ["none", "line", "binary"] as const;

describe("rows of a COPY", () => {
  it("are the bytes of their messages, for any cuts and any size of the output", () => {
    fc.assert(
      fc.property(
        fc.constantFrom(...kinds),
        fc.array(
          anyRow.filter((row) => !mark.equals(row)),
          { maxLength: 12 },
        ),
        fc.array(fc.nat(), { maxLength: 12 }),
        fc.integer({ min: 2, max: 5000 }),
        (kind, rows, cuts, capacity) =>
          check(kind, rows, cutAt(answer(kind, rows), cuts), capacity),
      ),
      { numRuns: 500 },
    );
  });

  it("come the same when every byte is read alone, and when cut in two at every byte", () => {
    const rows = ["1\n", "", "x".repeat(40), "\n"].map((text) => Buffer.from(text + "\n"));
    for (const kind of kinds) {
      for (const sent of [rows, []]) {
        const bytes = answer(kind, sent);
        check(kind, sent, cutAt(bytes, [...bytes.keys()]), 16);
        for (const at of bytes.keys()) check(kind, sent, cutAt(bytes, [at]), 1000);
      }
    }
  });

  it("are taken sixty thousand at a time, however short they are", () => {
    const rows = Array.from({ length: 150_000 }, () => Buffer.from("\n"));
    let most = 0;
    const walker = new CopyWalker("none", 2 ** 20, () => {});
    const bytes = answer("none", rows);
    for (let at = 0; at < bytes.length; at += walker.inlet.length) {
      walker.read(bytes.copy(walker.inlet, 0, at));
      while (!walker.isEmpty) {
        most = Math.max(most, walker.output.ends.length);
        walker.output.take();
        walker.walk();
      }
    }
    assert.equal(walker.output.records, 150_000);
    assert.equal(most, 65_536);
  });

  it("are refused where the bytes are none, or the file is another one or not whole", () => {
    const row = message("d", Buffer.from("row\n"));
    const cases: readonly (readonly [CopyHeader, string, Buffer])[] = [
      ["none", "a message shorter than its own head", Buffer.from("d\0\0\0\x03")],
      ["none", "a length below zero", Buffer.from("d\xff\xff\xff\xff", "latin1")],
      ["none", "a huge message that is no row", message("S", Buffer.alloc(1_100_000))],
      ["line", "an end without the header", done],
      ["line", "an empty header", message("d", Buffer.alloc(0))],
      ["binary", "an end without the header", done],
      [
        "binary",
        "another file",
        message("d", Buffer.concat([Buffer.from("id,name\n"), signature])),
      ],
      ["binary", "a signature cut short", message("d", signature.subarray(0, 12))],
      [
        "binary",
        "an extension",
        message("d", Buffer.concat([signature.subarray(0, 18), Buffer.from([4, 1, 2, 3, 4])])),
      ],
      ["binary", "an end without the trailer", Buffer.concat([answer("binary", []), row, done])],
    ];
    for (const [kind, what, bytes] of cases) {
      const whole = what.endsWith("trailer")
        ? Buffer.concat([message("d", Buffer.concat([signature, Buffer.alloc(2)])), done])
        : bytes;
      for (const cuts of [[], [...whole.keys()].slice(0, 200)]) {
        assert.throws(
          () => walkAll(kind, cutAt(whole, cuts), 1000),
          { code: "source-failed" },
          `${kind}: ${what}`,
        );
      }
    }
  });

  it("may stand between errors and notices of any length, which are cut, never held", () => {
    const long = message("E", Buffer.from(`SERROR\0C22P02\0M${"x".repeat(3_000_000)}\0P12\0\0`));
    const row = message("d", Buffer.from("row\n"));
    const bytes = Buffer.concat([row, long, row, ready]);
    for (const cuts of [[], [3, 12, 14, 70_000, 3_000_000]]) {
      const { rows, messages } = walkAll("none", cutAt(bytes, cuts), 1000);
      assert.deepEqual(rows, ["row\n", "row\n"]);
      assert.equal(messages.length, 16 * 1024 + ready.length);
      assert.match(messages, /^E..\?\xffSERROR\0C22P02\0Mx+\0\0Z/s);
    }
  });
});

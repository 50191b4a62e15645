/** Fuzzed: the bytes of a PostgreSQL server, walked into records, taken from a COPY, or split into messages. */
import assert from "node:assert/strict";
import { EventEmitter } from "node:events";
import type { Socket } from "node:net";
import { Connection } from "pg";
import { PipelineError } from "../../src/errors.ts";
import { CopyWalker } from "../../src/stages/sources/postgres-copy/copy-walker.ts";
import { guardParser, type Listening } from "../../src/stages/sources/postgres-parser.ts";
import { findWideField, readFrames } from "../../src/stages/sources/postgres-frames.ts";
import { mostAtOnceBytes } from "../../src/stages/sources/postgres-wire/messages.ts";
import { RowWalker } from "../../src/stages/sources/postgres-wire/data-rows.ts";
import { dialectOf } from "../../src/stages/formats/csv-dialect.ts";
import { recordLayouts } from "../../src/stages/sources/postgres-wire/record-layouts.ts";
import type { Walker } from "../../src/stages/sources/postgres-wire/wire-query.ts";
import { type Chance, cut, mutate, wordsOf } from "./chance.ts";
import type { FuzzClass } from "./fuzz-class.ts";
import {
  greeting,
  columnsOf,
  int16,
  int32,
  message,
  others,
  row,
  rowsOf,
  text,
} from "./messages.ts";

const wireWords = [
  ...wordsOf("D·C·Z·d·c·H·E").map((type) => Buffer.concat([text(type), int32(4)])),
  int32(-1),
  int32(-2),
  int32(0),
  int32(5),
  int32(2 ** 31 - 1),
  int16(0),
  int16(-1),
  Buffer.alloc(8, 0xff),
  ...others,
];

interface Walked {
  readonly text: string;
  readonly messages: readonly string[];
}

/** Feeds as a socket would, takes as a query does. */
function walk(
  walker: Walker,
  pieces: readonly Buffer[],
  messages: readonly string[],
): Walked | PipelineError {
  const taken: Buffer[] = [];
  const { output } = walker;
  let records = 0;
  let length = 0;
  let whole = 0;
  const take = () => {
    records += output.ends.length;
    whole = output.ends.length > 0 ? length + output.ends.at(-1)! : whole;
    length += output.takeable.length;
    let before = 0;
    for (const end of output.ends) {
      assert.ok(end >= before && end <= output.length, "records end in the output, in order");
      before = end;
    }
    taken.push(Buffer.from(output.takeable));
    output.take();
  };
  try {
    for (const piece of pieces) {
      for (let at = 0; at < piece.length;) {
        const bytes = piece.copy(walker.inlet, 0, at);
        at += bytes;
        walker.read(bytes);
        for (let stuck = 0; !walker.isEmpty; stuck += 1) {
          assert.ok(stuck < 10_000 + piece.length, "it goes on");
          take();
          walker.walk();
        }
      }
    }
  } catch (error) {
    if (error instanceof PipelineError) return error;
    throw error;
  }
  take();
  assert.equal(output.records, records);
  // What comes of a record that is not whole depends on when it is asked for.
  return { text: Buffer.concat(taken).toString("latin1", 0, whole), messages };
}

/** A server never ends with a row: one that came in pieces is given on when something follows it. */
const following = message("S", text("TimeZone\0UTC\0"));

/** Bytes are understood alike however they are cut. */
function walkTwice(
  make: (onMessage: (bytes: Buffer) => void) => Walker,
  given: Buffer,
  chance: Chance,
): void {
  const bytes = Buffer.concat([given, following]);
  const walkOnce = (pieces: readonly Buffer[]) => {
    const messages: string[] = [];
    return walk(
      make((one) => messages.push(one.toString("latin1"))),
      pieces,
      messages,
    );
  };
  const whole = walkOnce([bytes]);
  if (chance.once(2)) {
    const pieces = walkOnce(cut(bytes, chance));
    const verdicts = [whole, pieces].map((one) =>
      one instanceof PipelineError ? one.code : "whole",
    );
    assert.equal(verdicts[1], verdicts[0], "cut and whole are understood alike");
    if (!(whole instanceof PipelineError)) assert.deepEqual(pieces, whole);
  }
  if (whole instanceof PipelineError) throw whole;
}

const dialects = [
  {},
  { delimiter: ";", quote: "'", quoteAll: true, lineEnd: "crlf" } as const,
  { delimiter: ":", null: "-1", header: false, bom: true },
].map(dialectOf);

export function wire(): FuzzClass {
  return {
    seeds: { whole: [Buffer.concat(others)], words: wireWords },
    run(_bytes, chance) {
      const columns = columnsOf(chance);
      const whole = [rowsOf(columns, chance), Buffer.concat(others)];
      // One in eight is left as it is: it must be understood.
      const isLeft = chance.once(8);
      const bytes = isLeft ? whole[0]! : mutate(chance, { whole, words: wireWords });
      const layout = recordLayouts[chance.pick(["ndjson", "json", "csv"])]!(
        columns,
        chance.pick(dialects),
      );
      const capacity = chance.pick([1, 1000, 70_000]);
      try {
        walkTwice((onMessage) => new RowWalker(layout, capacity, onMessage), bytes, chance);
      } catch (error) {
        assert.ok(!isLeft, String(error));
        throw error;
      }
    },
  };
}

const signature = Buffer.from("PGCOPY\n\xff\r\n\0\0\0\0\0\0\0\0\0", "latin1");
const copies = [
  [text("a,b\n"), text('1,"x"\n'), text("\xff\xff"), text("")],
  [Buffer.concat([signature, int16(1), int32(2), text("hi")]), int16(0), int16(-1)],
  [text("1\tx\n"), text("2\t\\N\n".repeat(2000))],
].map((rows) =>
  Buffer.concat([
    message("H", Buffer.alloc(3)),
    ...rows.map((one) => message("d", one)),
    message("c"),
    ...others,
  ]),
);

export function copied(): FuzzClass {
  return {
    seeds: { whole: copies, words: [...wireWords, signature, int16(-1), message("d", int16(-1))] },
    run(bytes, chance) {
      const header = chance.pick(["none", "line", "binary"] as const);
      const capacity = chance.pick([1, 1000, 70_000]);
      const walkers: CopyWalker[] = [];
      const make = (onMessage: (message: Buffer) => void) => {
        const walker = new CopyWalker(header, capacity, onMessage);
        walkers.push(walker);
        return walker;
      };
      try {
        walkTwice(make, bytes, chance);
      } finally {
        for (const walker of walkers) free(walker);
      }
    },
  };
}

/** A walker holds two megabytes: left to the collector, thousands of them would have it run all the time. */
function free({ inlet, output, begun }: CopyWalker): void {
  const held = [inlet, output.bytes, output.ends, ...(begun ? [begun] : [])];
  for (const memory of new Set(held.map(({ buffer }) => buffer as ArrayBuffer))) memory.transfer(0);
}

/** Messages before `pg` parses them: each comes out whole, in order, however it came in. */
export function framed(): FuzzClass {
  return {
    seeds: {
      whole: [Buffer.concat([row(text("a"), null), ...others]), ...copies],
      words: wireWords,
    },
    run(bytes, chance) {
      const widest = chance.pick([20, 5000, 2 ** 26]);
      const split = (pieces: readonly Buffer[]) => {
        const socket = new EventEmitter();
        const parsed: Buffer[] = [];
        let ended: unknown;
        socket.on("data", (chunk: Buffer) => parsed.push(Buffer.from(chunk)));
        readFrames(socket as Socket, {
          heard() {},
          fits: (length) => length <= widest,
          refuse: (length, head) =>
            (ended = `wide ${length} ${findWideField(head, widest / 2) >= -1}`),
          fail: (error) => (ended = error),
        });
        for (const piece of pieces) socket.emit("data", piece);
        if (ended instanceof Error && !(ended instanceof PipelineError)) throw ended;
        return { all: Buffer.concat(parsed).toString("latin1"), ended };
      };
      const whole = split([bytes]);
      const pieces = split(cut(bytes, chance));
      const told = (ended: unknown) => (ended instanceof PipelineError ? ended.message : ended);
      // An error or a notice is cut where it is long and not whole.
      if (bytes.length > mostAtOnceBytes) return;
      // A wide row that one read brought whole is there already, and passes.
      if (typeof pieces.ended === "string") return;
      assert.equal(told(pieces.ended), told(whole.ended));
      if (whole.ended === undefined) assert.equal(pieces.all, whole.all);
      if (whole.ended instanceof PipelineError) throw whole.ended;
    },
  };
}

/** The whole way into `pg`, from the first byte of a connection on: events come out, or one error. */
export function parsed(): FuzzClass {
  return {
    seeds: {
      whole: [Buffer.concat([...greeting, ...others, row(text("a"), null)]), ...copies],
      words: wireWords,
    },
    run(bytes, chance) {
      const events = (pieces: readonly Buffer[]) => {
        let failure: Error | undefined;
        const told: string[] = [];
        const socket = Object.assign(new EventEmitter(), {
          destroy: (error: Error) => (failure = error),
        });
        const connection = new Connection({}) as Connection & Listening;
        guardParser(connection);
        connection.attachListeners(socket as unknown as Socket);
        connection.on("message", (one: { name: string; length: number }) =>
          told.push(`${one.name} ${one.length}`),
        );
        for (const piece of pieces) socket.emit("data", piece);
        if (failure && !(failure instanceof PipelineError)) throw failure;
        return { told, failure };
      };
      const whole = events([bytes]);
      const pieces = events(cut(bytes, chance));
      // Where a message is shorter than it says, `pg` sees the next one behind it, or nothing.
      if (whole.failure) throw whole.failure;
      if (pieces.failure || bytes.length > mostAtOnceBytes) return;
      assert.deepEqual(pieces.told, whole.told);
    },
  };
}

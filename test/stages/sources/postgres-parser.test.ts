/** A server that is none, or whose bytes were changed on their way: refused at once, whatever `pg` would make of them. */
import assert from "node:assert/strict";
import { randomBytes } from "node:crypto";
import { EventEmitter } from "node:events";
import { createServer, type Socket } from "node:net";
import { mock } from "node:test";
import { PipelineError } from "../../../src/errors.ts";
import { guardParser } from "../../../src/stages/sources/postgres-parser.ts";
import { openSession } from "../../../src/stages/sources/postgres-session.ts";

const whole = (type: string, body: string | Buffer) => {
  const head = Buffer.from(`${type}\0\0\0\0`);
  head.writeInt32BE(4 + body.length, 1);
  return Buffer.concat([head, Buffer.from(body)]);
};
const welcome = [whole("R", Buffer.alloc(4)), whole("Z", "I")];

/** What comes of asking a server that says `login`, and answers any question with `answer`. */
async function ask(login: readonly Buffer[], answer: readonly Buffer[], byteByByte: boolean) {
  const server = createServer({ noDelay: true }, (socket) => {
    const say = (parts: readonly Buffer[]) => {
      const bytes = Buffer.concat(parts);
      const step = byteByByte ? 1 : bytes.length;
      for (let at = 0; at < bytes.length; at += step) socket.write(bytes.subarray(at, at + step));
    };
    socket.on("error", () => {});
    socket.once("data", () => {
      say(login);
      socket.on("data", () => say(answer));
    });
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const { port } = server.address() as { port: number };
  const url = `postgres://u@127.0.0.1:${port}/d?sslmode=disable`;
  try {
    const limits = { url, connectMillis: 3000, answerMillis: 3000 };
    const session = await openSession(limits, new AbortController().signal);
    try {
      return await session.ask("select 1");
    } finally {
      await session.close();
    }
  } finally {
    server.close();
  }
}

const bad: Readonly<Record<string, Buffer>> = {
  "an error without an end": whole("E", "SERROR"),
  "an error whose last text has an end and the list has none": whole("E", "SERROR\0C22P02\0"),
  "an error of nothing": whole("E", ""),
  "a notice without an end": whole("N", "SNOTICE\0Mx"),
  "a login that is cut": whole("R", "\0"),
  "a description that is cut": whole("T", "\0\x05a\0"),
  "a row that is cut": whole("D", "\0\x05\0\0"),
  "a message shorter than its head": Buffer.from("Z\0\0\0\x03"),
  "a message of two gigabytes": Buffer.from("S\x7f\xff\xff\xff", "latin1"),
  "a web page": Buffer.from("HTTP/1.1 400 Bad Request\r\n\r\n<html>"),
};

describe("bytes for pg's parser", () => {
  for (const [what, bytes] of Object.entries(bad)) {
    it(`are refused when they are ${what}`, async () => {
      for (const byteByByte of [false, true]) {
        for (const said of [ask([bytes], [], byteByByte), ask(welcome, [bytes], byteByByte)]) {
          await assert.rejects(said, (error: unknown) => {
            assert.ok(error instanceof PipelineError, String(error));
            assert.match(error.message, /no PostgreSQL messages|that is no row/);
            return true;
          });
        }
      }
    });
  }

  it("pass when a message is large and comes in many pieces, each copied no more than twice", () => {
    const stream = new EventEmitter() as Socket;
    const passed: Buffer[] = [];
    const connection = {
      attachListeners: (to: Socket) =>
        void to.on("data", (bytes) => void passed.push(Buffer.from(bytes as Buffer))),
    };
    guardParser(connection);
    connection.attachListeners(stream);
    const rows = [randomBytes(2 ** 20), Buffer.alloc(0), randomBytes(7)].map((row) =>
      whole("D", row),
    );
    const sent = Buffer.concat(rows);
    let copied = 0;
    const concat = Buffer.concat.bind(Buffer);
    const counting = mock.method(Buffer, "concat", (parts: readonly Buffer[]) => {
      copied += parts.reduce((sum, { length }) => sum + length, 0);
      return concat(parts);
    });
    try {
      for (let at = 0; at < sent.length; at += 1000) {
        // The memory is read into again.
        const piece = Buffer.from(sent.subarray(at, at + 1000));
        stream.emit("data", piece);
        piece.fill(0);
      }
    } finally {
      counting.mock.restore();
    }
    assert.ok(Buffer.concat(passed).equals(sent));
    assert.ok(copied < 2 * sent.length, `${copied} of ${sent.length}`);
  });

  it("pass when they are messages, however they come", async () => {
    const done = [whole("C", "SELECT 0\0"), whole("Z", "I")];
    for (const byteByByte of [false, true]) {
      const { command, rows } = await ask(welcome, done, byteByByte);
      assert.deepEqual([command, rows], ["SELECT", []]);
    }
  });
});

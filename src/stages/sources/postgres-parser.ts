/**
 * The door between a server's bytes and `pg`, from the first one on: `pg` sees whole messages only, and no exception of it
 * leaves. Its parser reads an error without an end for ever, and throws in the middle of a read for one that is too short.
 * Source: https://www.postgresql.org/docs/current/protocol-error-fields.html
 */
import type { Socket } from "node:net";
import { PipelineError } from "../../errors.ts";
import {
  copyData,
  cutShort,
  dataRow,
  headBytes,
  isErrorOrNotice,
  keptBytes,
  messageBytes,
  nonsense,
} from "./postgres-wire/messages.ts";

/** What is not whole is held here: no row of a table, which others cut to size before it comes here. */
const mostBegunBytes = 16 * 1024 * 1024;

type Parse = (bytes: Buffer) => void;

/** The part of `pg`'s connection that makes its parser the listener of a socket, plain or TLS. */
export interface Listening {
  attachListeners(stream: Socket): void;
}

/** Puts the door where `connection` will begin to listen; whatever is nonsense ends the socket, with our error. */
export function guardParser(connection: Listening): void {
  const attach = connection.attachListeners.bind(connection);
  connection.attachListeners = (stream) => {
    const before = stream.listeners("data");
    attach(stream);
    const added = stream.listeners("data").filter((listener) => !before.includes(listener));
    for (const parse of added as Parse[]) {
      stream.off("data", parse);
      stream.on(
        "data",
        wholeMessages(parse, (error) => stream.destroy(error)),
      );
    }
  };
}

/** Gives `parse` messages as they become whole, until one is none. Errors and notices that are long are cut. */
function wholeMessages(parse: Parse, fail: (error: Error) => void): Parse {
  let begun: Buffer[] = [];
  /** Bytes to come before anything can be done with what has begun. */
  let missing = 0;
  /** Bytes to come of a message that was cut. */
  let skipped = 0;
  let dead = false;

  const take = (chunk: Buffer): Buffer => {
    const start = Math.min(skipped, chunk.length);
    skipped -= start;
    const bytes = chunk.subarray(start);
    const end = endOfWhole(bytes);
    if (end > 0) parse(bytes.subarray(0, end));
    const rest = bytes.subarray(end);
    const [size, kept] = measure(rest);
    if (kept === size || rest.length < kept) return rest;
    const message = Buffer.from(rest.subarray(0, kept));
    cutShort(message);
    parse(message);
    skipped = size - kept;
    return take(rest.subarray(kept));
  };

  return (chunk) => {
    if (dead) return;
    try {
      missing -= chunk.length;
      // What is kept lies in memory that may be read into again.
      if (missing > 0) {
        begun.push(Buffer.from(chunk));
        return;
      }
      const rest = take(begun.length > 0 ? Buffer.concat([...begun, chunk]) : chunk);
      begun = rest.length > 0 ? [Buffer.from(rest)] : [];
      missing = measure(rest)[1] - rest.length;
    } catch (error) {
      dead = true;
      fail(error instanceof PipelineError ? error : nonsense());
    }
  };
}

function endOfWhole(bytes: Buffer): number {
  let at = 0;
  while (bytes.length - at >= headBytes) {
    const end = at + messageBytes(bytes, at);
    if (end > bytes.length) break;
    if (isErrorOrNotice(bytes[at]!)) refuseEndless(bytes.subarray(at + headBytes, end));
    at = end;
  }
  return at;
}

/** How long the message is that begins in `rest`, and how much of it is kept. */
function measure(rest: Buffer): readonly [size: number, kept: number] {
  if (rest.length < headBytes) return [headBytes, headBytes];
  const size = messageBytes(rest, 0);
  const isRow = rest[0] === dataRow || rest[0] === copyData;
  if (isRow && size > mostBegunBytes) throw nonsense();
  return [size, isRow ? size : keptBytes(rest[0]!, size)];
}

/** An error is a list of fields, each a letter and a text that a zero ends; another zero ends the list. */
function refuseEndless(fields: Buffer): void {
  let at = 0;
  while (fields[at] !== 0) {
    const end = fields.indexOf(0, at + 1);
    if (end < 0) throw nonsense();
    at = end + 1;
  }
}

/**
 * The messages of an answer, as far as a walk through them must know: where they end, how long they may be.
 * Source: https://www.postgresql.org/docs/current/protocol-message-formats.html
 */
import { formatBytes } from "../../atoms.ts";
import { PipelineError } from "../../../errors.ts";

/** One read of a socket: four times what libuv would ask for, since each costs a call into JavaScript. */
export const readBytes = 256 * 1024;

export const dataRow = 0x44;
export const copyData = 0x64;
const bind = 0x42;
const errorResponse = 0x45;
const noticeResponse = 0x4e;

export const lengthBytes = 4;
/** Type and length of any message. */
export const headBytes = 5;
/** A DataRow's head with its number of columns. */
export const rowHeadBytes = 7;
export const nullLength = -1;

/** Errors and notices are cut there: code and severity stand in front, and the rest may be as long as a value. */
export const mostAtOnceBytes = 16 * 1024;
/** Any other message of a query's answer is far shorter. */
export const mostMessageBytes = 1024 * 1024;

/** Signed, as the protocol has it: -1 is NULL, and nothing is 2 GiB long. */
export const readLength = (from: Buffer, at: number): number =>
  (from[at]! << 24) | (from[at + 1]! << 16) | (from[at + 2]! << 8) | from[at + 3]!;

/** Bytes of the message that begins at `at`, its head included. */
export function messageBytes(from: Buffer, at: number): number {
  const bytes = readLength(from, at + 1);
  if (bytes < lengthBytes) throw nonsense();
  return 1 + bytes;
}

export const isErrorOrNotice = (type: number): boolean =>
  type === errorResponse || type === noticeResponse;

/**
 * How much of a message that is no row is kept: all of it, but for errors and notices that are longer than
 * `mostAtOnceBytes`.
 * @throws PipelineError `source-failed` when any other is too long to be one
 */
export function keptBytes(type: number, bytes: number): number {
  if (isErrorOrNotice(type)) return Math.min(bytes, mostAtOnceBytes);
  if (bytes <= mostMessageBytes) return bytes;
  throw new PipelineError(
    "source-failed",
    `the server sent a message of ${formatBytes(bytes)} that is no row; expected at most ${formatBytes(mostMessageBytes)}`,
  );
}

/** Makes what was kept a message of its own: its text ends sooner, and the list of its fields there. */
export function cutShort(message: Buffer): void {
  message.writeUInt32BE(message.length - 1, 1);
  message.fill(0, message.length - 2);
}

/**
 * Bind to the unnamed statement and portal, with each result column's format of its own.
 * @param values of the parameters, as text
 * @param isBinary by column, whether the server sends its binary form
 */
export function bindMessage(
  values: readonly (string | null)[],
  isBinary: readonly boolean[],
): Buffer {
  const texts = values.map((value) => (value === null ? null : Buffer.from(value)));
  const valueBytes = texts.reduce((sum, text) => sum + lengthBytes + (text?.length ?? 0), 0);
  const message = Buffer.alloc(headBytes + 2 + 2 + 2 + valueBytes + 2 + 2 * isBinary.length);
  message[0] = bind;
  let at = message.writeInt32BE(message.length - 1, 1);
  // Two empty names, and no formats: every parameter is text.
  at = message.writeInt16BE(texts.length, at + 4);
  for (const text of texts) {
    at = message.writeInt32BE(text?.length ?? nullLength, at);
    if (text) at += text.copy(message, at);
  }
  at = message.writeInt16BE(isBinary.length, at);
  for (const binary of isBinary) at = message.writeInt16BE(binary ? 1 : 0, at);
  return message;
}

export function refuseOtherCount(from: Buffer, at: number, expected: number): void {
  const found = (from[at + headBytes]! << 8) | from[at + headBytes + 1]!;
  if (found !== expected) throw otherCount(expected);
}

export const otherCount = (expected: number) =>
  new PipelineError(
    "source-failed",
    `the server sent a row of another number of columns than the ${expected} it described`,
  );

export const nonsense = () =>
  new PipelineError(
    "source-failed",
    "the bytes from the server are no PostgreSQL messages; expected a connection that changes nothing on its way",
  );

/**
 * The messages of a PostgreSQL connection, whole before `pg`'s parser sees them: a wide row is copied once into memory
 * of its size instead of a buffer that doubles, is refused by its announced length before it is read, and an exception
 * of the parser becomes our error instead of an uncaught one.
 * Source: https://www.postgresql.org/docs/current/protocol-message-formats.html
 */
import type { Socket } from "node:net";
import { freeBuffer } from "../free-buffer.ts";
import { cutShort, dataRow, headBytes, keptBytes, messageBytes } from "./postgres-wire/messages.ts";

export interface FrameReader {
  heard(): void;
  fits(bytes: number): boolean;
  /** A row is too wide; `head` is what has arrived of it. */
  refuse(bytes: number, head: Buffer): void;
  fail(error: unknown): void;
}

/** Puts `reader` between a logged-in connection's socket and its parser. */
export function readFrames(socket: Socket, reader: FrameReader): void {
  const [parse] = socket.listeners("data") as ((bytes: Buffer) => void)[];
  if (!parse) return;
  let waiting: { readonly bytes: Buffer<ArrayBuffer>; filled: number; cut: number } | undefined;
  /** Bytes to come of an error or a notice that was cut. */
  let skipped = 0;
  let dead = false;

  const split = (chunk: Buffer): void => {
    let at = Math.min(skipped, chunk.length);
    skipped -= at;
    if (waiting) {
      at = chunk.copy(waiting.bytes, waiting.filled);
      waiting.filled += at;
      if (waiting.filled < waiting.bytes.length) return;
      const { bytes, cut } = waiting;
      waiting = undefined;
      // Four bytes or fewer cannot tell how long their message is.
      if (bytes.length === headBytes) return split(Buffer.concat([bytes, chunk.subarray(at)]));
      if (cut > 0) cutShort(bytes);
      parse(bytes);
      // The parser has made texts of it; waiting for the collector would pile up dead memory.
      freeBuffer(bytes);
      skipped = cut;
      return split(chunk.subarray(at));
    }
    const start = at;
    let missing = headBytes;
    while (chunk.length - at >= headBytes) {
      missing = messageBytes(chunk, at);
      if (chunk.length - at < missing) break;
      at += missing;
      missing = headBytes;
    }
    if (at > start) parse(chunk.subarray(start, at));
    const head = chunk.subarray(at);
    if (head[0] === dataRow && !reader.fits(missing)) {
      dead = true;
      reader.refuse(missing, head);
    } else if (head.length > 0) {
      const kept = head[0] === dataRow ? missing : keptBytes(head[0]!, missing);
      waiting = { bytes: Buffer.allocUnsafeSlow(kept), filled: 0, cut: missing - kept };
      split(head);
    }
  };

  socket.off("data", parse);
  socket.on("data", (chunk: Buffer) => {
    if (dead) return;
    reader.heard();
    try {
      split(chunk);
    } catch (error) {
      dead = true;
      reader.fail(error);
    }
  });
}

/** The field of a row that begins in `head`, goes on beyond it and is wider than `bytes`; or -1. */
export function findWideField(head: Buffer, bytes: number): number {
  let at = headBytes + 2;
  for (let field = 0; at + 4 <= head.length; field += 1) {
    const length = head.readInt32BE(at);
    if (length > bytes) return field;
    at += 4 + Math.max(0, length);
  }
  return -1;
}

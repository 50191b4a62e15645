/**
 * A socket whose reads land in its reader's own memory: no buffer is made for them, and none is left to the collector.
 * Source: `onread` of https://nodejs.org/api/net.html#socketconnectoptions-connectlistener
 */
import { type OnReadOpts, Socket } from "node:net";

export interface DirectReader {
  /** Where the next read goes. */
  readonly inlet: Uint8Array;
  /** `bytes` were read, into the inlet or, of a read that began before, elsewhere; valid during the call. */
  onRead(bytes: Buffer): void;
}

export interface DirectSocket {
  readonly socket: Socket;
  /** Sends reads to `reader`; without one they are `data` events again. */
  direct(reader: DirectReader | undefined): void;
}

/** libuv asks for so many. */
const firstBytes = 64 * 1024;

export function createDirectSocket(): DirectSocket {
  const first = Buffer.allocUnsafeSlow(firstBytes);
  let reader: DirectReader | undefined;
  const onread: OnReadOpts = {
    buffer: () => reader?.inlet ?? first,
    callback(bytes, buffer) {
      const read = Buffer.from(buffer.buffer, buffer.byteOffset, bytes);
      if (reader) reader.onRead(read);
      else socket.emit("data", Buffer.from(read));
      return true;
    },
  };
  // The types know `onread` of `connect` alone; the constructor is where it is read.
  const options: object = { onread };
  const socket = new Socket(options);
  return { socket, direct: (next) => (reader = next) };
}

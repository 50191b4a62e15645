/**
 * A socket whose reads land in its reader's own memory: no buffer is made for them, and none is left to the collector.
 * Source: `onread` of https://nodejs.org/api/net.html#socketconnectoptions-connectlistener
 *
 * With TLS, Node has it only for connections that are TLS from their first byte; PostgreSQL agrees on TLS later. So what
 * Node would do is done to the socket by hand, as long as Node is made as it is now: else its reads are `data` events,
 * whose memory cannot be freed, since Node cuts the reads of all sockets from common pieces of 64 KiB.
 */
import { type OnReadOpts, Socket } from "node:net";

export interface DirectReader {
  /** Where the next read goes; undefined while what it brings must wait. */
  readonly inlet: Uint8Array | undefined;
  /**
   * `bytes` were read, into the inlet or, of a read that began before, elsewhere; valid during the call.
   * @returns false to stop reading, until the socket is resumed
   */
  onRead(bytes: Buffer): boolean;
}

export interface DirectSocket {
  readonly socket: Socket;
  /** Sends reads to `reader`; without one they are `data` events again. */
  direct(reader: DirectReader | undefined): void;
}

/** libuv asks for so many; a record of TLS has fewer. */
const firstBytes = 64 * 1024;

export function createDirectSocket(): DirectSocket {
  const reads = createReads(() => socket);
  // The types know `onread` of `connect` alone; the constructor is where it is read.
  const options: object = { onread: reads.onread };
  const socket = new Socket(options);
  return { socket, direct: reads.direct };
}

/**
 * Sends the reads of a connected socket to its reader, from the first call on.
 * @returns undefined where Node is made in another way
 */
export function directReads(socket: Socket): DirectSocket["direct"] | undefined {
  const { _handle: handle } = socket as unknown as { readonly _handle?: Handle | null };
  const slots = socket as unknown as Record<symbol, unknown>;
  const [memory, nextMemory, told] = slotNames.map((name) => ownSymbol(socket, name));
  if (!memory || !nextMemory || !told || slots[memory] !== null) return undefined;
  if (typeof handle?.useUserBuffer !== "function") return undefined;
  let reads: Reads | undefined;
  return (reader) => {
    if (reads) return reads.direct(reader);
    reads = createReads(() => socket);
    reads.direct(reader);
    const { buffer, callback } = reads.onread;
    const first = buffer();
    [slots[memory], slots[nextMemory], slots[told]] = [first, buffer, callback];
    handle.useUserBuffer(first);
  };
}

/** Where a socket keeps the memory of its next read, what gives that of the one after it, and what is told of a read. */
const slotNames = ["kBuffer", "kBufferGen", "kBufferCb"];

interface Handle {
  useUserBuffer(memory: Uint8Array): void;
}

const ownSymbol = (socket: Socket, name: string): symbol | undefined =>
  Object.getOwnPropertySymbols(socket).find(({ description }) => description === name);

interface Reads extends Pick<DirectSocket, "direct"> {
  readonly onread: OnReadOpts & { readonly buffer: () => Uint8Array };
}

function createReads(socket: () => Socket): Reads {
  const first = Buffer.allocUnsafeSlow(firstBytes);
  let reader: DirectReader | undefined;
  return {
    direct: (next) => void (reader = next),
    onread: {
      buffer: () => reader?.inlet ?? first,
      callback(bytes, buffer) {
        const read = Buffer.from(buffer.buffer, buffer.byteOffset, bytes);
        if (reader) return reader.onRead(read);
        socket().emit("data", Buffer.from(read));
        return true;
      },
    },
  };
}

/** Proxies before a PostgreSQL that change what the server sends. */
import { type Socket, connect, createServer } from "node:net";

export interface ForwardingProxy {
  readonly port: number;
  close(): Promise<void>;
}

/**
 * A proxy that hands what the server sends to `forward`.
 * @param before what the client sends waits for it
 */
export async function startForwardingProxy(
  port: number,
  forward: (bytes: Buffer, client: Socket) => void,
  before: (bytes: Buffer) => Promise<void> | void = () => {},
): Promise<ForwardingProxy> {
  const listener = createServer((client) => {
    const server = connect(port, "127.0.0.1");
    const drop = () => [client, server].map((socket) => socket.destroy());
    for (const socket of [client, server]) socket.on("error", drop).on("close", drop);
    let sent = Promise.resolve();
    client.on("data", (bytes) => {
      sent = sent.then(async () => {
        await before(bytes);
        server.write(bytes);
      });
    });
    server.on("data", (bytes) => forward(bytes, client));
  });
  await new Promise<void>((resolve) => listener.listen(0, "127.0.0.1", resolve));
  const address = listener.address();
  return {
    port: typeof address === "object" && address ? address.port : 0,
    close: () => new Promise<void>((resolve) => listener.close(() => resolve())),
  };
}

/**
 * A proxy that hands each message of the server to `change`, and what comes of it to the client.
 */
export function startMessageProxy(port: number, change: (message: Buffer) => Buffer | undefined) {
  const waiting = new WeakMap<Socket, Buffer>();
  return startForwardingProxy(port, (bytes, client) => {
    let left = Buffer.concat([waiting.get(client) ?? Buffer.alloc(0), bytes]);
    while (left.length >= 5 && left.length > left.readInt32BE(1)) {
      const end = 1 + left.readInt32BE(1);
      const message = change(left.subarray(0, end));
      left = left.subarray(end);
      if (message) client.write(message);
    }
    waiting.set(client, left);
  });
}

/**
 * A proxy that loses, of the messages of a type that hold the word "lossy", those it is told to.
 * @param type the message's first byte: 0x44 a DataRow, 0x64 CopyData
 */
export function startLossyProxy(port: number, type: number, loses: (row: number) => boolean) {
  let row = 0;
  return startMessageProxy(port, (message) => {
    // Only the query's own rows hold this word.
    if (message[0] !== type || !message.includes("lossy")) return message;
    row += 1;
    return loses(row) ? undefined : message;
  });
}

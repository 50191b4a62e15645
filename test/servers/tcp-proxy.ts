/** A TCP proxy with faults: passes bytes, swallows them, resets, ends, or cuts after so many bytes to the client. */
import { type Socket, connect, createServer } from "node:net";

export type ProxyMode = "pass" | "black-hole";

export interface TcpProxy {
  readonly port: number;
  /** Bytes that went to clients so far. */
  readonly bytesToClient: number;
  /** `black-hole` swallows what either side sends, and keeps connections open. */
  mode: ProxyMode;
  /** Resets (RST) every connection. */
  reset(): void;
  /** Ends (FIN) every connection towards both sides. */
  end(): void;
  /** Resets the connection on which this many more bytes have gone to the client. */
  cutAfter(bytes: number): void;
  close(): Promise<void>;
}

/** Starts a proxy on a free port of 127.0.0.1 before `host:port`. */
export async function startTcpProxy(port: number, host = "127.0.0.1"): Promise<TcpProxy> {
  const pairs = new Set<{ client: Socket; server: Socket }>();
  const state = { mode: "pass" as ProxyMode, toClient: 0, cutAt: Number.POSITIVE_INFINITY };

  const listener = createServer((client) => {
    const server = connect(port, host);
    const pair = { client, server };
    pairs.add(pair);
    const drop = () => {
      pairs.delete(pair);
      client.destroy();
      server.destroy();
    };
    const forward = (from: Socket, to: Socket) => (bytes: Buffer) => {
      if (state.mode === "black-hole") return;
      if (to === client) state.toClient += bytes.length;
      if (!to.write(bytes)) {
        from.pause();
        to.once("drain", () => from.resume());
      }
      if (state.toClient < state.cutAt) return;
      state.cutAt = Number.POSITIVE_INFINITY;
      client.resetAndDestroy();
    };
    client.on("data", forward(client, server));
    server.on("data", forward(server, client));
    for (const socket of [client, server]) socket.on("error", drop).on("close", drop);
  });
  await new Promise<void>((resolve) => listener.listen(0, "127.0.0.1", resolve));
  const address = listener.address();

  return {
    port: typeof address === "object" && address ? address.port : 0,
    get bytesToClient() {
      return state.toClient;
    },
    get mode() {
      return state.mode;
    },
    set mode(mode) {
      state.mode = mode;
    },
    reset() {
      for (const { client } of pairs) client.resetAndDestroy();
    },
    end() {
      for (const { client } of pairs) client.end();
    },
    cutAfter(bytes) {
      state.cutAt = state.toClient + bytes;
    },
    close() {
      for (const { client, server } of pairs)
        for (const socket of [client, server]) socket.destroy();
      return new Promise((resolve) => listener.close(() => resolve()));
    },
  };
}

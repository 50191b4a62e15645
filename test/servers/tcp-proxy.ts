/** A TCP proxy with faults: passes bytes, swallows them, resets, ends, dribbles, or cuts after so many bytes to the client. */
import { type Socket, connect, createServer } from "node:net";
import { setTimeout as sleep } from "node:timers/promises";

/** What is swallowed of what either side sends; connections stay open. */
export type ProxyMode = "pass" | "black-hole" | "to-client lost" | "to-server lost";

export interface TcpProxy {
  readonly port: number;
  /** Bytes that went to clients so far, and to servers. */
  readonly bytesToClient: number;
  readonly bytesToServer: number;
  /** Of all connections, those to come included. */
  mode: ProxyMode;
  /** As `mode`, of the connections there are now alone. */
  loseExisting(mode: ProxyMode): void;
  /** Resets (RST) every connection. */
  reset(): void;
  /** Ends (FIN) every connection towards both sides. */
  end(): void;
  /** Drops the servers' side of every connection, and says nothing to the clients. */
  forgetClients(): void;
  /** From now on clients get one byte at a time, so many milliseconds apart; 0 lets all pass again. */
  dribble(millis: number): void;
  /** Resets the connection on which this many more bytes have gone to the client, or does `cut` to it. */
  cutAfter(bytes: number, cut?: Partial<Cut>): void;
  /** Whether a cut has yet to come. */
  readonly isCutting: boolean;
  /** Nothing more happens to connections to come. */
  heal(): void;
  close(): Promise<void>;
}

interface Cut {
  readonly way: "toClient" | "toServer";
  /** `damage` changes a byte; the connection stays. */
  readonly by: "reset" | "end" | "damage";
}

interface Pair {
  readonly client: Socket;
  readonly server: Socket;
  mode: ProxyMode;
  forgotten: boolean;
}

const usualCut: Cut = { way: "toClient", by: "reset" };

/** Starts a proxy on a free port of 127.0.0.1 before `host:port`. */
export async function startTcpProxy(port: number, host = "127.0.0.1"): Promise<TcpProxy> {
  const pairs = new Set<Pair>();
  const state = {
    mode: "pass" as ProxyMode,
    toClient: 0,
    toServer: 0,
    cutAt: Number.POSITIVE_INFINITY,
    cut: usualCut,
    dribbleMillis: 0,
  };
  const loses = (pair: Pair, to: Socket) => {
    const lost = to === pair.client ? "to-client lost" : "to-server lost";
    return [pair.mode, state.mode].some((mode) => mode === "black-hole" || mode === lost);
  };

  const listener = createServer((client) => {
    const server = connect(port, host);
    const pair: Pair = { client, server, mode: "pass", forgotten: false };
    pairs.add(pair);
    const drop = () => {
      if (pair.forgotten && !client.destroyed) return;
      pairs.delete(pair);
      client.destroy();
      server.destroy();
    };
    const forward = (from: Socket, to: Socket) => (bytes: Buffer) => {
      if (loses(pair, to) || pair.forgotten) return;
      if (to === client && state.dribbleMillis > 0) {
        void dribble(from, to, bytes);
        return;
      }
      const way = to === client ? "toClient" : "toServer";
      state[way] += bytes.length;
      const isCut = state.cut.way === way && state[way] >= state.cutAt;
      if (isCut && state.cut.by === "damage") bytes[0]! ^= 1;
      if (!to.write(bytes)) {
        from.pause();
        to.once("drain", () => from.resume());
      }
      if (!isCut) return;
      state.cutAt = Number.POSITIVE_INFINITY;
      if (state.cut.by === "reset") client.resetAndDestroy();
      if (state.cut.by === "end") for (const socket of [client, server]) socket.end();
    };
    client.on("data", forward(client, server));
    server.on("data", forward(server, client));
    for (const socket of [client, server]) socket.on("error", drop).on("close", drop);
  });
  const dribble = async (from: Socket, to: Socket, bytes: Buffer) => {
    from.pause();
    for (let at = 0; at < bytes.length && !to.destroyed;) {
      const most = state.dribbleMillis > 0 ? 1 : bytes.length;
      to.write(bytes.subarray(at, at + most));
      at += most;
      if (state.dribbleMillis > 0) await sleep(state.dribbleMillis);
    }
    from.resume();
  };
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
    loseExisting(mode) {
      for (const pair of pairs) pair.mode = mode;
    },
    reset() {
      for (const { client } of pairs) client.resetAndDestroy();
    },
    end() {
      for (const { client } of pairs) client.end();
    },
    forgetClients() {
      for (const pair of pairs) {
        pair.forgotten = true;
        pair.server.destroy();
      }
    },
    dribble(millis) {
      state.dribbleMillis = millis;
    },
    get bytesToServer() {
      return state.toServer;
    },
    cutAfter(bytes, cut) {
      state.cut = { ...usualCut, ...cut };
      state.cutAt = state[state.cut.way] + bytes;
    },
    get isCutting() {
      return Number.isFinite(state.cutAt);
    },
    heal() {
      Object.assign(state, { mode: "pass", dribbleMillis: 0, cutAt: Number.POSITIVE_INFINITY });
    },
    close() {
      for (const { client, server } of pairs)
        for (const socket of [client, server]) socket.destroy();
      return new Promise((resolve) => listener.close(() => resolve()));
    },
  };
}

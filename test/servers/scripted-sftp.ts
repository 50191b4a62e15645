/**
 * A small SSH server that keeps files in memory and fails on request, for what OpenSSH's own does not do on command. The
 * way there is real (ssh2's server); what it says of files is made here, so that it can lie.
 */
import { createHash } from "node:crypto";
import { type Socket, createServer } from "node:net";
import { posix } from "node:path";
import ssh2, { type AuthContext, type ServerChannel } from "ssh2";
import { type Handles, type SftpFiles, serveFiles } from "./sftp-files.ts";
import {
  type Asked,
  allExtensions,
  answers,
  packetsOf,
  readPacket,
  unasked,
} from "./sftp-packets.ts";
import { takeFirst } from "./take-first.ts";

/** Of a connection (`connect`, `login`, `subsystem`) or of what is asked over it. */
export interface Call extends Omit<Asked, "verb"> {
  readonly verb: Asked["verb"] | "connect" | "login" | "subsystem";
  /** Answers as the healthy server would. */
  serve(): void;
  /** Does what is asked, and gives the answer unsaid. */
  act(): Buffer;
  say(bytes: Buffer): void;
  /** Says no to a connection, a login or a subsystem. */
  refuse(): void;
  hangUp(by: "end" | "reset"): void;
  /** Ends the program that speaks SFTP; the connection stays. */
  quit(): void;
  /** Takes nothing more of what is sent. */
  stall(): void;
}

export type Play = (call: Call) => void;

/** What happens instead of a healthy answer, once. */
export interface Fault {
  readonly on: Call["verb"];
  readonly when?: (call: Call) => boolean;
  readonly play: Play;
}

export interface ScriptedSftp extends SftpFiles {
  readonly port: number;
  readonly login: { readonly hostKey: string; readonly password: string };
  /** Takes the place of the password. */
  readonly privateKey: string;
  /** Every request so far: `open /path`. */
  readonly requests: string[];
  /** Faults to play, each once, in order. */
  readonly faults: Fault[];
  /** Says what happens to a request that no fault was meant for. */
  script: ((call: Call) => Play | undefined) | undefined;
  extensions: readonly (typeof allExtensions)[number][];
  /** Whether somebody else answers who comes now, with another key. */
  isStranger: boolean;
  /** Who told the stranger who they are. */
  readonly strayed: number;
  /** Connections there are. */
  readonly connections: number;
  /** Resets every connection. */
  drop(): void;
  stop(): Promise<void>;
}

/** What costs the tests least. */
const cheap = {
  kex: ["curve25519-sha256" as const],
  cipher: ["aes128-gcm@openssh.com" as const],
  compress: ["none" as const],
};
const password = "a password of tests";

export async function startScriptedSftp(): Promise<ScriptedSftp> {
  const sockets = new Set<Socket>();
  const [own, other, user] = [makeKey(), makeKey(), makeKey()];
  let strayed = 0;
  const listener = createServer({ noDelay: true });
  await new Promise<void>((resolve) => listener.listen(0, "127.0.0.1", resolve));
  const address = listener.address();
  const state: ScriptedSftp = {
    files: new Map(),
    folders: new Set(),
    foldsCase: false,
    renames: "honour",
    port: typeof address === "object" && address ? address.port : 0,
    login: { hostKey: own.fingerprint, password },
    privateKey: user.text,
    requests: [],
    faults: [],
    script: undefined,
    extensions: allExtensions,
    isStranger: false,
    get strayed() {
      return strayed;
    },
    get connections() {
      return sockets.size;
    },
    drop() {
      for (const socket of sockets) socket.resetAndDestroy();
    },
    stop: async () => {
      for (const socket of sockets) socket.destroy();
      await new Promise((resolve) => listener.close(resolve));
    },
  };
  const stray = () => void (strayed += 1);
  listener.on("connection", (socket) => {
    sockets.add(socket);
    socket.on("close", () => sockets.delete(socket)).on("error", () => {});
    const call = callOf("connect", socket, {
      serve: () => admit(state, socket, state.isStranger ? other.text : own.text, stray),
      refuse: () => socket.resetAndDestroy(),
    });
    (playing(state, call) ?? serve)(call);
  });
  return state;
}

const serve: Play = (call) => call.serve();

/** One in 256 of the keys that ssh2 makes begins with a nought, and cannot be read. */
function makeKey(): { readonly text: string; readonly fingerprint: string } {
  const { private: text } = ssh2.utils.generateKeyPairSync("ed25519");
  const key = ssh2.utils.parseKey(text);
  if (key instanceof Error) return makeKey();
  const digest = createHash("sha256").update(key.getPublicSSH()).digest("base64");
  return { text, fingerprint: `SHA256:${digest.replace(/=+$/, "")}` };
}

/** Whether somebody has the password, or the key: who shows the public half alone is asked to sign. */
function proves(context: AuthContext, privateKey: string): boolean {
  if (context.method === "password") return context.password === password;
  if (context.method !== "publickey") return false;
  const key = ssh2.utils.parseKey(privateKey);
  if (key instanceof Error || !key.getPublicSSH().equals(context.key.data)) return false;
  const { blob, signature, hashAlgo } = context;
  return !blob || !signature || key.verify(blob, signature, hashAlgo);
}

const playing = (state: ScriptedSftp, call: Call): Play | undefined => {
  const fault = takeFirst(
    state.faults,
    ({ on, when }) => on === call.verb && (when?.(call) ?? true),
  );
  return fault?.play ?? state.script?.(call);
};

function callOf(
  verb: Call["verb"],
  socket: Socket,
  { serve, refuse }: Pick<Call, "serve" | "refuse">,
): Call {
  const nothing = () => {};
  return {
    ...unasked,
    verb,
    serve,
    refuse,
    act: () => Buffer.alloc(0),
    say: nothing,
    hangUp: (by) => void (by === "end" ? socket.end() : socket.resetAndDestroy()),
    quit: nothing,
    stall: nothing,
  };
}

/** Speaks SSH over one connection, with the key of who answers. */
function admit(state: ScriptedSftp, socket: Socket, key: string, stray: () => void): void {
  const { isStranger } = state;
  const server = new ssh2.Server({ hostKeys: [key], algorithms: cheap }, (client) => {
    client.on("error", () => {});
    client.on("authentication", (context) => {
      if (isStranger) stray();
      if (!proves(context, state.privateKey)) return context.reject(["password", "publickey"]);
      const call = callOf("login", socket, {
        serve: () => context.accept(),
        refuse: () => context.reject(["password"]),
      });
      (playing(state, call) ?? serve)(call);
    });
    client.on("session", (accept) => {
      accept().on("subsystem", (begin: () => ServerChannel, refuse: () => void) => {
        const call = callOf("subsystem", socket, {
          serve: () => converse(state, socket, begin()),
          refuse,
        });
        (playing(state, call) ?? serve)(call);
      });
    });
  });
  server.injectSocket(socket);
}

/** Speaks SFTP over one channel. */
function converse(state: ScriptedSftp, socket: Socket, channel: ServerChannel): void {
  const handles: Handles = { paths: new Map(), opened: new Map(), unread: new Map() };
  const answer = serveFiles(state, handles);
  const say = (bytes: Buffer) => void (channel.writable && channel.write(bytes));
  let waiting = Buffer.alloc(0);
  channel.on("error", () => {});
  channel.on("data", (piece: Buffer) => {
    const { packets, rest } = packetsOf(Buffer.concat([waiting, piece]));
    waiting = Buffer.from(rest);
    for (const asked of packets.map(readPacket)) {
      const path = posix.normalize(handles.paths.get(asked.handle) ?? asked.path);
      const act = () => (asked.verb === "init" ? answers.version(state.extensions) : answer(asked));
      const call: Call = {
        ...callOf("connect", socket, { serve: () => say(act()), refuse: () => {} }),
        ...asked,
        path,
        act,
        say,
        quit: () => channel.close(),
        stall: () => void channel.pause(),
      };
      if (asked.verb !== "init") state.requests.push(`${asked.verb} ${path}`);
      (playing(state, call) ?? serve)(call);
    }
  });
}

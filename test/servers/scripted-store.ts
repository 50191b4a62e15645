/**
 * A small server that keeps objects in memory and fails on request, for what no real store does on command. How objects
 * are asked for and answered is its kind's own (`scripted-s3.ts` and its neighbours).
 */
import { createHash } from "node:crypto";
import { type IncomingMessage, type ServerResponse, createServer } from "node:http";
import { takeFirst } from "./take-first.ts";

export interface Stored {
  readonly bytes: Buffer;
  readonly meta: Readonly<Record<string, string>>;
}

export interface Call {
  readonly method: string;
  readonly key: string;
  readonly query: URLSearchParams;
  readonly body: Buffer;
  readonly request: IncomingMessage;
  readonly response: ServerResponse;
  /** Answers as the healthy server would; with a body of the script's own it keeps that one and tells the other's digest. */
  serve(kept?: Buffer): void;
}

/** What happens instead of a healthy answer, for the next request of that method. */
export interface Fault {
  readonly on: "GET" | "HEAD" | "PUT" | "DELETE" | "PROPFIND";
  /** Before the request's body is read: the body of the call is empty then. */
  readonly early?: boolean;
  readonly play: (call: Call) => void;
}

export interface ScriptedStore {
  readonly endpoint: string;
  readonly objects: Map<string, Stored>;
  /** Every request so far: `PUT key` in order of arrival. */
  readonly requests: string[];
  readonly headers: Record<string, unknown>[];
  /** Faults to play, each once, in order. */
  readonly faults: Fault[];
  /** Says what happens to a request that no fault was meant for; asked before its body is read, and again behind it. */
  script: ((call: Call, early: boolean) => Fault["play"] | undefined) | undefined;
  /** Whether names that differ in case alone are one. */
  foldsCase: boolean;
  /** Whether `If-None-Match` is honoured, ignored as if it were not there, or refused with 501. */
  conditions: "honour" | "ignore" | "refuse";
  /** Whether bytes that do not match their digests are refused. */
  digests: "honour" | "ignore";
  stop(): Promise<void>;
}

/** What a kind of store does with a call; its path begins with what holds the objects (a bucket, a container). */
export interface StoreKind {
  readonly holder: string;
  /** Answers to whoever asks for another holder. */
  stranger(call: Call): void;
  serve(call: Call, kept: Buffer): void;
}

export async function startScriptedStore(kind: StoreKind): Promise<ScriptedStore> {
  const server = createServer((request, response) => void answer(request, response));
  // A connection that ends idle would be a fault that no script played.
  server.keepAliveTimeout = 600_000;
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const address = server.address();
  const port = typeof address === "object" && address ? address.port : 0;
  const state: ScriptedStore = {
    endpoint: `http://127.0.0.1:${port}`,
    objects: new Map(),
    requests: [],
    headers: [],
    faults: [],
    script: undefined,
    foldsCase: false,
    conditions: "honour",
    digests: "honour",
    stop: async () => {
      server.closeAllConnections();
      await new Promise((resolve) => server.close(resolve));
    },
  };

  const playing = (call: Call, early: boolean): Fault["play"] | undefined => {
    const fits = (fault: Fault) => fault.on === call.method && (fault.early ?? false) === early;
    return takeFirst(state.faults, fits)?.play ?? state.script?.(call, early);
  };
  const answer = async (request: IncomingMessage, response: ServerResponse) => {
    const asked = callOf(state, request, response);
    const early = playing(asked, true);
    if (early) {
      state.requests.push(`${asked.method} ${asked.key}`);
      return early(asked);
    }
    const body = await receive(request);
    if (body === undefined) return;
    const [, first] = (request.url ?? "").split(/[/?]/);
    if (first !== kind.holder) return kind.stranger(asked);
    const call: Call = { ...asked, body, serve: (kept) => kind.serve(call, kept ?? call.body) };
    state.requests.push(`${call.method} ${call.key}`);
    state.headers.push(request.headers);
    const fault = playing(call, false);
    if (fault) fault(call);
    else call.serve();
  };
  return state;
}

function callOf(state: ScriptedStore, request: IncomingMessage, response: ServerResponse): Call {
  const url = new URL(request.url ?? "/", "http://server");
  const [, , ...rest] = url.pathname.split("/").map(decodeURIComponent);
  const key = state.foldsCase ? rest.join("/").toLowerCase() : rest.join("/");
  const { method = "" } = request;
  const body = Buffer.alloc(0);
  return { method, key, query: url.searchParams, body, request, response, serve() {} };
}

/** The body; undefined when the client went away. */
async function receive(request: IncomingMessage): Promise<Buffer | undefined> {
  const pieces: Buffer[] = [];
  try {
    for await (const piece of request as AsyncIterable<Buffer>) pieces.push(piece);
  } catch {
    return undefined;
  }
  return Buffer.concat(pieces);
}

/** A part of an object or the whole, as the request asks; what a store tells beside it is its own. */
export function give(
  { request, response }: Call,
  bytes: Buffer,
  told: Record<string, string>,
): void {
  const from = Number(/^bytes=(\d+)-$/.exec(request.headers.range ?? "")?.[1] ?? 0);
  const range =
    from > 0 ? { "content-range": `bytes ${from}-${bytes.length - 1}/${bytes.length}` } : {};
  const length = { "content-length": bytes.length - from };
  response.writeHead(from > 0 ? 206 : 200, { ...told, ...range, ...length });
  response.end(request.method === "HEAD" ? undefined : bytes.subarray(from));
}

export function md5(bytes: Buffer, encoding: "base64" | "hex"): string {
  return createHash("md5").update(bytes).digest(encoding);
}

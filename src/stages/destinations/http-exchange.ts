/**
 * One request to a store over a kept connection, with a deadline and a bounded answer. Nothing here follows a redirect, or
 * repeats a request but one that met a dead connection. Headers, which may hold credentials, never appear in an error.
 */
import type { Agent, ClientRequest, IncomingMessage, OutgoingHttpHeaders } from "node:http";
import { PipelineError, systemCode } from "../../errors.ts";
import type { Content } from "../durable-file.ts";
import { httpClient, proxies } from "../node-http.ts";
import { untilAborted } from "../until-aborted.ts";
import { sendBody } from "./http-body.ts";
import { TryAgain } from "./retry.ts";

export interface HttpRequest {
  readonly method: "GET" | "HEAD" | "PUT" | "DELETE" | "PROPFIND" | "MKCOL";
  /** Name below the destination's URL; undefined asks what holds them all (a bucket). */
  readonly name?: string;
  readonly query?: Readonly<Record<string, string>>;
  readonly headers?: Readonly<Record<string, string>>;
  readonly body?: Content;
}

export interface HttpAnswer {
  readonly status: number;
  header(name: string): string | undefined;
  /** Reads the body as text. @throws TryAgain when it breaks off or is longer than `mostBytes`. */
  text(mostBytes: number): Promise<string>;
  /** Reads a body of any length within the deadline, to the end its framing gives it. @throws TryAgain when it breaks off. */
  body(): AsyncGenerator<Uint8Array>;
  /**
   * Reads the body in pieces to the length the server announced. While it is waited for, every 64 KiB or the rest must
   * come within the deadline. @throws TryAgain when it breaks off.
   */
  pieces(): AsyncGenerator<Uint8Array>;
  /** Lets go of an answer without a body, so that its connection can serve again. */
  drop(): void;
}

/** A server that gives less than this within a deadline gives nothing. */
const leastBytes = 64 * 1024;

/** An error document is some hundred bytes. */
const mostRefusalBytes = 64 * 1024;

export interface HttpConnection {
  send(request: HttpRequest, signal: AbortSignal): Promise<HttpAnswer>;
  close(): void;
}

export interface Line {
  /** Scheme, host and port. */
  readonly origin: URL;
  /** Who is there, in messages: `the S3 endpoint`. */
  readonly called: string;
  readonly timeoutMillis: number;
  /** Where a request goes and what it says of itself, credentials included; asked for each anew. */
  readonly address: (request: HttpRequest) => {
    readonly path: string;
    readonly headers: Readonly<OutgoingHttpHeaders>;
  };
}

/**
 * Connects lazily; every request may take `timeoutMillis` in all, or that long for each part of a streamed body, in
 * whichever direction it goes.
 */
export function connectTo({ origin, called, timeoutMillis, address }: Line): HttpConnection {
  const client = httpClient(origin.protocol);
  const agent = new client.Agent({ ...proxies(), keepAlive: true });
  const afresh = () => new client.Agent(proxies());

  const exchange = (request: HttpRequest, signal: AbortSignal, by: Agent) =>
    new Promise<HttpAnswer>((resolve, reject) => {
      const { hostname, port } = origin;
      const way = { hostname: hostname.replace(/^\[|\]$/g, ""), port, agent: by, signal };
      // Until a proxy has led to the store, nothing ends a request but this, and nothing tells that it was aborted.
      const asked = { method: request.method, timeout: timeoutMillis, ...address(request) };
      const outgoing = client.request({ ...way, ...asked });
      let current: { destroy(error: Error): unknown } = outgoing;
      const late = () => current.destroy(timedOut(timeoutMillis));
      const timer = setTimeout(late, timeoutMillis);
      outgoing.once("close", () => clearTimeout(timer));
      outgoing.on("error", (error) => reject(lost(error, signal, called, outgoing.reusedSocket)));
      outgoing.once("response", (incoming) => {
        current = incoming;
        const answer = answerOf(incoming, { signal, timeoutMillis, called }, () =>
          clearTimeout(timer),
        );
        if (outgoing.writableFinished) resolve(answer);
        else void endEarly(outgoing, answer).then(resolve);
      });
      void sendBody(outgoing, request.body, () => timer.refresh());
    });

  return {
    send: async (request, signal) => {
      signal.throwIfAborted();
      const ask = (by: Agent) => untilAborted(exchange(request, signal, by), signal);
      if (!isRepeatable(request)) return ask(afresh());
      try {
        return await ask(agent);
      } catch (error) {
        if (!(error instanceof DiedIdle)) throw error;
        return ask(afresh());
      }
    },
    close: () => agent.destroy(),
  };
}

/** A kept connection may have died while nobody used it. That says nothing of the store, and costs no attempt. */
class DiedIdle extends TryAgain {}

/** An unguarded put is preceded by a question each time; so it takes a fresh connection, and is not repeated blindly. */
function isRepeatable({ method, headers }: HttpRequest): boolean {
  return method !== "PUT" || headers?.["if-none-match"] !== undefined;
}

/**
 * A store may refuse a body before it has read all of it. Its lender uses that memory again once there is an answer, so by
 * then nobody may be sending from it.
 */
async function endEarly(outgoing: ClientRequest, answer: HttpAnswer): Promise<HttpAnswer> {
  const text = await answer.text(mostRefusalBytes).catch(() => "");
  outgoing.destroy();
  return { ...answer, text: () => Promise.resolve(text), drop() {} };
}

/** What reading an answer needs to know. */
interface Listening {
  readonly signal: AbortSignal;
  readonly timeoutMillis: number;
  readonly called: string;
}

function answerOf(
  incoming: IncomingMessage,
  listening: Listening,
  endTotalDeadline: () => void,
): HttpAnswer {
  return {
    status: incoming.statusCode!,
    header: (name) => incoming.headers[name]?.toString(),
    text: (mostBytes) => textOf(incoming, mostBytes, listening),
    body: () => bodyOf(incoming, listening),
    pieces: () => {
      // A reader may be slow on purpose; from here only the server is on the clock.
      endTotalDeadline();
      return piecesOf(incoming, listening);
    },
    drop: () => void incoming.resume(),
  };
}

async function textOf(
  incoming: IncomingMessage,
  mostBytes: number,
  listening: Listening,
): Promise<string> {
  const pieces: Uint8Array[] = [];
  let bytes = 0;
  for await (const piece of bodyOf(incoming, listening)) {
    bytes += piece.length;
    if (bytes > mostBytes) throw lost(new Error("too long"), listening.signal, listening.called);
    pieces.push(piece);
  }
  return Buffer.concat(pieces).toString("utf8");
}

async function* bodyOf(
  incoming: IncomingMessage,
  { signal, called }: Listening,
): AsyncGenerator<Uint8Array> {
  try {
    yield* incoming as AsyncIterable<Buffer>;
  } catch (error) {
    throw lost(error, signal, called);
  }
}

async function* piecesOf(
  incoming: IncomingMessage,
  { signal, timeoutMillis }: Listening,
): AsyncGenerator<Uint8Array> {
  const expected = announcedBytes(incoming);
  const pieces = (incoming as AsyncIterable<Buffer>)[Symbol.asyncIterator]();
  let received = 0;
  let [leftMillis, dueBytes] = [timeoutMillis, leastBytes];
  try {
    for (;;) {
      const asked = performance.now();
      const left = Math.max(0, leftMillis);
      const timer = setTimeout(() => incoming.destroy(timedOut(timeoutMillis)), left);
      const next = await pieces.next().finally(() => clearTimeout(timer));
      if (next.done) break;
      received += next.value.length;
      // Only the server's time counts: a reader may be slow on purpose.
      leftMillis -= performance.now() - asked;
      if (received >= dueBytes) [leftMillis, dueBytes] = [timeoutMillis, received + leastBytes];
      yield next.value;
    }
    if (received !== expected) throw new Error("the body is short");
  } catch (error) {
    signal.throwIfAborted();
    throw new TryAgain(
      new PipelineError(
        "destination-failed",
        `an object broke off after ${received} of ${expected} bytes`,
        { cause: error, details: { received, expected } },
      ),
    );
  } finally {
    incoming.destroy();
  }
}

/** A body that ends when the connection does cannot be told from one that was cut. */
function announcedBytes(incoming: IncomingMessage): number {
  const length = incoming.headers["content-length"];
  if (length !== undefined && /^\d{1,15}$/.test(length)) return Number(length);
  incoming.destroy();
  throw new PipelineError(
    "destination-failed",
    "the destination sent an object without its length; expected Content-Length",
  );
}

function timedOut(timeoutMillis: number): Error {
  return Object.assign(new Error(`no answer within ${timeoutMillis} ms`), { code: "ETIMEDOUT" });
}

/** What a broken exchange means: nobody knows whether the server acted, so asking again is safe but needed. */
function lost(error: unknown, signal: AbortSignal, called: string, isKept = false): unknown {
  if (signal.aborted) return signal.reason;
  if (error instanceof PipelineError) return error;
  const code = systemCode(error) ?? "broken answer";
  if (/CERT|SELF_SIGNED|UNABLE_TO_|ERR_TLS|ERR_SSL|EPROTO/.test(code)) {
    return new PipelineError(
      "destination-refused",
      `no trusted TLS connection to ${called} (${code}); check the endpoint and its certificate`,
      { cause: error, details: { code } },
    );
  }
  const Kind = isKept && (code === "ECONNRESET" || code === "EPIPE") ? DiedIdle : TryAgain;
  return new Kind(
    new PipelineError("destination-unreachable", `${called} did not answer (${code})`, {
      cause: error,
      details: { code },
    }),
  );
}

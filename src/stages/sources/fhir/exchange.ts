/**
 * One request to a FHIR server over a kept connection: verified TLS, guarded addresses, deadlines, bounded headers and
 * metadata, bodies whose end is proved by their framing. Nothing here repeats a request.
 */
import type { Agent, ClientRequest, IncomingMessage } from "node:http";
import { PipelineError, systemCode } from "../../../errors.ts";
import { TryAgain } from "../../destinations/retry.ts";
import { httpClient } from "../../node-http.ts";
import { bare, createGuard } from "./places.ts";
import type { Statistics } from "./statistics.ts";

export interface Outgoing {
  readonly method: "GET" | "POST" | "DELETE";
  readonly url: URL;
  readonly headers: Readonly<Record<string, string>>;
  readonly body?: string;
}

export interface Answer {
  readonly status: number;
  header(name: string): string | undefined;
  /** The whole body of `mostBytes` at most. @throws TryAgain when it breaks off; PipelineError when it is longer */
  text(mostBytes: number): Promise<string>;
  /** The body in pieces, each within the deadline. @throws TryAgain when it breaks off before its proven end */
  pieces(): AsyncGenerator<Uint8Array>;
  /** Lets go of a body that nobody reads. */
  drop(): void;
}

export interface Exchange {
  send(outgoing: Outgoing, signal: AbortSignal): Promise<Answer>;
  close(): void;
}

export interface ExchangeOptions {
  /** The configured server. */
  readonly base: URL;
  /** What lies where this lies may be reached: `base`, where nothing else is configured. */
  readonly home?: URL;
  /** Longest silence: until the answer begins, and between two pieces of its body. */
  readonly timeoutMillis: number;
  readonly statistics: Statistics;
}

/** What another attempt may mend: too early, too many, and a server or a proxy in trouble. */
export const transient: ReadonlySet<number> = new Set([408, 425, 429, 500, 502, 503, 504]);
const mostHeaderBytes = 32 * 1024;

export function createExchange(options: ExchangeOptions): Exchange {
  const { base, home = base, timeoutMillis, statistics } = options;
  const guard = createGuard(bare(home.hostname));
  const agents = new Map<string, Agent>();
  const agentOf = (protocol: string) => {
    const { Agent } = httpClient(protocol);
    const agent = agents.get(protocol) ?? new Agent({ keepAlive: true, lookup: guard.lookup });
    agents.set(protocol, agent);
    return agent;
  };

  const exchange = (outgoing: Outgoing, signal: AbortSignal) =>
    new Promise<Answer>((resolve, reject) => {
      const { method, url, headers, body } = outgoing;
      const began = performance.now();
      const sent: ClientRequest = httpClient(url.protocol).request(url, {
        method,
        headers:
          body === undefined ? headers : { ...headers, "content-length": Buffer.byteLength(body) },
        agent: agentOf(url.protocol),
        signal,
        maxHeaderSize: mostHeaderBytes,
      });
      const timer = setTimeout(() => sent.destroy(timedOut(timeoutMillis)), timeoutMillis);
      sent.once("close", () => clearTimeout(timer));
      sent.on("error", (error) => reject(lost(error, signal)));
      sent.once("response", (incoming) => {
        clearTimeout(timer);
        statistics.answered(performance.now() - began);
        resolve(answerOf(incoming, { signal, timeoutMillis, statistics }));
      });
      sent.end(body);
    });

  return {
    async send(outgoing, signal) {
      signal.throwIfAborted();
      refusePlain(outgoing.url, base);
      guard.check(outgoing.url.hostname);
      return exchange(outgoing, signal);
    },
    close() {
      for (const agent of agents.values()) agent.destroy();
    },
  };
}

/** Only who chose plain HTTP for the server itself gets it, and only there. */
function refusePlain({ protocol, origin }: URL, base: URL): void {
  if (protocol === "https:" || (protocol === "http:" && origin === base.origin)) return;
  if (protocol === "http:" && base.protocol === "http:") return;
  throw new PipelineError(
    "source-refused",
    "the server leads to an address that is not https; expected TLS, as `url` has it",
  );
}

interface Reading {
  readonly signal: AbortSignal;
  readonly timeoutMillis: number;
  readonly statistics: Statistics;
}

function answerOf(incoming: IncomingMessage, reading: Reading): Answer {
  return {
    status: incoming.statusCode!,
    header: (name) => incoming.headers[name]?.toString(),
    text: (mostBytes) => textOf(incoming, mostBytes, reading),
    pieces: () => piecesOf(incoming, reading),
    drop: () => void incoming.resume(),
  };
}

async function textOf(
  incoming: IncomingMessage,
  mostBytes: number,
  reading: Reading,
): Promise<string> {
  const pieces: Uint8Array[] = [];
  let bytes = 0;
  for await (const piece of piecesOf(incoming, reading)) {
    bytes += piece.length;
    if (bytes > mostBytes)
      throw new PipelineError("source-refused", `an answer is longer than ${mostBytes} bytes`);
    pieces.push(piece);
  }
  return Buffer.concat(pieces).toString("utf8");
}

async function* piecesOf(
  incoming: IncomingMessage,
  { signal, timeoutMillis, statistics }: Reading,
): AsyncGenerator<Uint8Array> {
  const pieces = (incoming as AsyncIterable<Buffer>)[Symbol.asyncIterator]();
  try {
    refuseUnframed(incoming);
    for (;;) {
      const timer = setTimeout(() => incoming.destroy(timedOut(timeoutMillis)), timeoutMillis);
      const next = await pieces.next().finally(() => clearTimeout(timer));
      if (next.done) break;
      statistics.received(next.value.length);
      yield next.value;
    }
    if (!incoming.complete) throw new Error("the body is cut off");
  } catch (error) {
    throw error instanceof PipelineError ? error : lost(error, signal);
  } finally {
    incoming.destroy();
  }
}

/** A body that ends when the connection does cannot be told from one that was cut. */
function refuseUnframed({ headers }: IncomingMessage): void {
  // Names of codings may be written in capitals (RFC 9110 §8.4.1, RFC 9112 §7).
  const encoding = headers["content-encoding"]?.toLowerCase() ?? "identity";
  if (encoding !== "identity")
    throw new PipelineError(
      "source-refused",
      "the server compressed its answer although it was asked not to; expected content-encoding identity",
    );
  const transfer = headers["transfer-encoding"]?.toLowerCase();
  if (headers["content-length"] !== undefined || transfer === "chunked") return;
  throw new PipelineError(
    "source-refused",
    "the server sent a body whose end cannot be proved; expected Content-Length or chunked encoding",
  );
}

function timedOut(timeoutMillis: number): Error {
  return Object.assign(new Error(`silent for ${timeoutMillis} ms`), { code: "ETIMEDOUT" });
}

/** What a broken exchange means; only reading is asked for, so asking again is safe. */
function lost(error: unknown, signal: AbortSignal): unknown {
  if (signal.aborted) return signal.reason;
  if (error instanceof PipelineError) return error;
  const code = systemCode(error) ?? "broken answer";
  const init = { details: { code }, cause: error };
  if (/CERT|SELF_SIGNED|UNABLE_TO_|ERR_TLS|ERR_SSL|EPROTO/.test(code)) {
    const told = `no trusted TLS connection to the FHIR server (${code}); check \`url\` and its certificate`;
    return new PipelineError("source-refused", told, init);
  }
  if (code.startsWith("HPE_")) {
    const told = `the server's answer is not HTTP, or its headers are longer than ${mostHeaderBytes} bytes (${code})`;
    return new PipelineError("source-refused", told, init);
  }
  const told = `the FHIR server did not answer, or broke off (${code})`;
  return new TryAgain(new PipelineError("source-unreachable", told, init));
}

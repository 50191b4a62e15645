/**
 * Sends OTLP/JSON over HTTP (https://opentelemetry.io/docs/specs/otlp/#otlphttp): one deadline for a request with all its
 * retries, so that a collector that is down or mute costs memory for one batch and no time of the run.
 */
import type { IncomingMessage, RequestOptions } from "node:http";
import { setTimeout as sleep } from "node:timers/promises";
import { gzipSync } from "node:zlib";
import type { OtlpEndpoint } from "./otlp-endpoint.ts";

// Not by `import`: the ES form of these modules loads all of fetch (14 MB).
const http = process.getBuiltinModule("node:http");

export interface OtlpClient {
  /**
   * Sends one body, which must not change until then; tells how many of its items the collector turned away (OTLP's partial success).
   * @throws Error when the deadline has passed or the collector refuses; the message names no header and no URL.
   */
  post(body: Uint8Array): Promise<{ readonly rejected: number }>;
  /** From now on nothing is tried twice. */
  hurry(): void;
  /** Gives up what is on the way and closes the connections. */
  close(): void;
}

/** What may pass by itself, says OTLP; any other answer is final. */
const retriableStatus: ReadonlySet<number> = new Set([429, 502, 503, 504]);
const firstPauseMillis = 250;
const longestPauseMillis = 5000;
const longestAnswerBytes = 64 * 1024;

interface Answer {
  readonly status: number;
  readonly body: string;
  readonly retryAfter: string | undefined;
}

export function createOtlpClient(endpoint: OtlpEndpoint): OtlpClient {
  const { request, agent } = transportOf(endpoint);
  const closed = new AbortController();
  const hurried = new AbortController();

  const send = (body: Uint8Array, signal: AbortSignal) =>
    new Promise<Answer>((resolve, reject) => {
      const sent = request(endpoint.url, { ...requestOptions(endpoint, body), agent, signal });
      sent.once("error", reject);
      sent.once("response", (response) => void readAnswer(response).then(resolve, reject));
      sent.end(body);
    });

  return {
    async post(plain) {
      const body = endpoint.gzip ? gzipSync(plain) : plain;
      const signal = AbortSignal.any([closed.signal, AbortSignal.timeout(endpoint.timeoutMillis)]);
      for (let pause = firstPauseMillis; ; pause = Math.min(2 * pause, longestPauseMillis)) {
        const last = hurried.signal.aborted;
        const answer = await send(body, signal).catch((error: unknown) => asFailure(error));
        if (!(answer instanceof Error) && answer.status < 300) return readRejected(answer.body);
        const final =
          answer instanceof Error ? signal.aborted : !retriableStatus.has(answer.status);
        if (final || last) throw failureOf(answer);
        await rest(pauseOf(answer, pause), AbortSignal.any([signal, hurried.signal]));
      }
    },
    hurry() {
      hurried.abort();
      // A connection that was idle may be dead without a word, and nobody would try again.
      for (const idle of Object.values(agent.freeSockets)) for (const one of idle!) one.destroy();
    },
    close() {
      closed.abort();
      agent.destroy();
    },
  };
}

function transportOf({ url, certificate }: OtlpEndpoint) {
  // Two connections: one for each batch on the way and the next at shutdown; idle ones never keep the process alive.
  const proxies = process.env["NODE_USE_ENV_PROXY"] === "1" ? { proxyEnv: process.env } : {};
  const options = { ...proxies, keepAlive: true, maxSockets: 2 };
  if (url.protocol !== "https:") return { request: http.request, agent: new http.Agent(options) };
  const https = process.getBuiltinModule("node:https");
  const agent = new https.Agent(certificate ? { ...options, ca: certificate } : options);
  return { request: https.request, agent };
}

function requestOptions(
  { headers, gzip, timeoutMillis }: OtlpEndpoint,
  body: Uint8Array,
): RequestOptions {
  return {
    method: "POST",
    // Until a proxy has led to the collector, nothing ends a request but this.
    timeout: timeoutMillis,
    headers: {
      ...headers,
      "content-type": "application/json",
      "content-length": body.byteLength,
      ...(gzip && { "content-encoding": "gzip" }),
    },
  };
}

async function readAnswer(response: IncomingMessage): Promise<Answer> {
  response.setEncoding("utf8");
  let body = "";
  for await (const piece of response) {
    if (body.length < longestAnswerBytes) body += String(piece);
  }
  const retryAfter = response.headers["retry-after"];
  return { status: response.statusCode!, body, retryAfter };
}

/** `{"partialSuccess":{"rejectedSpans":"3"}}`; 64-bit integers may be texts. */
function readRejected(body: string): { readonly rejected: number } {
  const [, count = "0"] = /"rejected(?:Spans|DataPoints)"\s*:\s*"?(\d+)/.exec(body) ?? [];
  return { rejected: Number(count) };
}

/** What is asked for, but never less than our own: "again at once" of a collector that refuses would be asked without end. */
function pauseOf(answer: Answer | Error, otherwise: number): number {
  const own = otherwise * (0.5 + Math.random() / 2);
  const seconds = answer instanceof Error ? Number.NaN : Number(answer.retryAfter ?? Number.NaN);
  if (!Number.isFinite(seconds)) return own;
  return Math.max(own, Math.min(seconds * 1000, longestPauseMillis));
}

/** Sleeps until the pause is over or the signal fires; either way the next attempt decides. */
async function rest(millis: number, signal: AbortSignal): Promise<void> {
  await sleep(millis, undefined, { signal, ref: false }).catch(() => undefined);
}

function failureOf(answer: Answer | Error): Error {
  if (answer instanceof Error) return answer;
  return new Error(`the collector answered ${answer.status}; expected 200`);
}

function asFailure(error: unknown): Error {
  return error instanceof Error ? error : new Error("the request failed");
}

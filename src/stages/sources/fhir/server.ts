/**
 * A FHIR server as its sources see it: requests with credentials, tried again while that may help, answers of the media
 * type that was asked for. Credentials, and redirects with them, stay with the configured origin.
 */
import { setTimeout as sleep } from "node:timers/promises";
import { PipelineError } from "../../../errors.ts";
import { persist, retryAfterMillis, TryAgain, type RetryPolicy } from "../../destinations/retry.ts";
import { type AuthConfig, createCredentials } from "./auth.ts";
import { type Answer, createExchange, type Outgoing, transient } from "./exchange.ts";
import { parseOutcome } from "./outcome.ts";
import { parseJson } from "./parse-json.ts";
import { createStatistics, type Statistics } from "./statistics.ts";

export interface Asked {
  readonly method?: Outgoing["method"];
  readonly url: URL;
  readonly headers?: Readonly<Record<string, string>>;
  readonly body?: string;
  /** Statuses that are answers and no failures; 200 alone when absent. */
  readonly takes?: readonly number[];
  /** Media types that are taken of a 200; any when absent. */
  readonly media?: readonly string[];
  /** False for files elsewhere, which are public to who knows their address. */
  readonly anonymous?: boolean;
}

export interface FhirServer {
  /** Origin and path, no `/` at the end. */
  readonly base: string;
  readonly statistics: Statistics;
  /**
   * Sends until there is an answer to take.
   * @throws PipelineError `source-refused`, `source-unreachable`, `source-failed`
   */
  ask(asked: Asked, signal: AbortSignal): Promise<Answer>;
  /** The same, and the body as JSON of `mostBytes` at most; a body that breaks off is asked for again. */
  askJson(asked: Asked, mostBytes: number, signal: AbortSignal): Promise<JsonAnswer>;
  /** An address that the server gave, where credentials may go. @throws PipelineError `source-refused` */
  own(address: string, from: URL): URL;
  close(): void;
}

export interface JsonAnswer {
  readonly status: number;
  readonly header: Answer["header"];
  /** Undefined when the body is no JSON. */
  readonly body: unknown;
}

export interface ServerOptions {
  readonly url: string;
  readonly auth?: AuthConfig | undefined;
  readonly timeout: number;
}

export const fhirJson = ["application/fhir+json", "application/json", "application/json+fhir"];

const policy: RetryPolicy = {
  attempts: 7,
  firstMillis: 250,
  longestMillis: 120_000,
  totalMillis: 900_000,
};
const mostRedirects = 3;
const mostRefusalBytes = 256 * 1024;

export function openServer({ url, auth, timeout }: ServerOptions): FhirServer {
  const base = new URL(url);
  const statistics = createStatistics();
  const exchange = createExchange({ base, timeoutMillis: timeout, statistics });
  // The issuer is configured too, wherever it lies; nothing but the token is asked for there.
  const home = auth?.tokenUrl === undefined ? base : new URL(auth.tokenUrl);
  const issuer = createExchange({ base, home, timeoutMillis: timeout, statistics });
  const credentials = createCredentials(auth, issuer);
  const own = (address: string, from: URL) => ownAddress(address, from, base);

  const sendOnce = async (asked: Asked, signal: AbortSignal, isSecond = false): Promise<Answer> => {
    const header = asked.anonymous ? undefined : await credentials.header(signal);
    const answer = await follow(asked, header, signal);
    const { takes = [200] } = asked;
    if (takes.includes(answer.status)) {
      if (answer.status === 200) requireMedia(answer, asked.media);
      return answer;
    }
    // A token may end before its time.
    if (answer.status === 401 && !isSecond && !asked.anonymous && credentials.forget(header)) {
      answer.drop();
      return sendOnce(asked, signal, true);
    }
    throw await refusal(answer);
  };

  const follow = async (asked: Asked, authorization: string | undefined, signal: AbortSignal) => {
    const { method = "GET", body, headers } = asked;
    let { url } = asked;
    for (let redirects = 0; ; redirects += 1) {
      const sent = {
        accept: "application/fhir+json",
        "accept-encoding": "identity",
        ...headers,
        ...(authorization !== undefined && { authorization }),
      };
      const request = { method, url, headers: sent, ...(body !== undefined && { body }) };
      const answer = await exchange.send(request, signal);
      const location = answer.header("location");
      if (![301, 302, 303, 307, 308].includes(answer.status) || location === undefined)
        return answer;
      answer.drop();
      if (method !== "GET" || redirects === mostRedirects) throw tooManyRedirects(method);
      url = own(location, url);
    }
  };

  const tried = <T>(work: () => Promise<T>, signal: AbortSignal) => {
    const counted = () =>
      work().catch((error: unknown) => {
        if (error instanceof TryAgain) statistics.retried();
        throw error;
      });
    return persist(counted, signal, policy);
  };

  return {
    base: base.origin + base.pathname.replace(/\/+$/, ""),
    statistics,
    ask: (asked, signal) => tried(() => sendOnce(asked, signal), signal),
    askJson: (asked, mostBytes, signal) =>
      tried(async () => {
        const { status, header, text } = await sendOnce(asked, signal);
        return { status, header, body: parseJson(await text(mostBytes)) };
      }, signal),
    own,
    close() {
      exchange.close();
      issuer.close();
    },
  };
}

/** Breaks of one body in a row that are mended; each one that brought something begins the count anew. */
const mostBreaks = 6;

/**
 * Reads what may break off on the way: `read` is called again until it ends, and has to go on where it was.
 * @param progress what grows while something arrives
 */
export async function* readThrough<Item, End>(
  read: () => AsyncGenerator<Item, End>,
  progress: () => number,
  { statistics }: FhirServer,
  signal: AbortSignal,
): AsyncGenerator<Item, End> {
  for (let breaks = 0, seen = progress(); ; seen = progress()) {
    try {
      return yield* read();
    } catch (error) {
      if (!(error instanceof TryAgain)) throw error;
      breaks = progress() > seen ? 1 : breaks + 1;
      if (breaks === mostBreaks) throw error.failure;
      statistics.retried();
      await sleep(policy.firstMillis * 2 ** (breaks - 1) * Math.random(), undefined, {
        signal,
      }).catch(() => signal.throwIfAborted());
    }
  }
}

function ownAddress(address: string, from: URL, base: URL): URL {
  if (!URL.canParse(address, from.href)) throw foreign("an address that is none");
  const url = new URL(address, from.href);
  if (url.origin !== base.origin || url.username !== "") throw foreign("another host");
  url.hash = "";
  return url;
}

function foreign(what: string): PipelineError {
  return new PipelineError(
    "source-refused",
    `the server leads on to ${what}; expected addresses below the scheme, host and port of \`url\` (a proxy in front of it may need to be told its public address)`,
  );
}

function requireMedia(answer: Answer, media: readonly string[] | undefined): void {
  if (!media) return;
  const [type = "", ...parameters] = (answer.header("content-type") ?? "").toLowerCase().split(";");
  const charset = /charset="?([^";\s]+)/.exec(parameters.join(";"))?.[1] ?? "utf-8";
  if (media.includes(type.trim()) && /^(utf-?8|us-ascii)$/.test(charset)) return;
  answer.drop();
  const said = /^[a-z0-9.+/-]{1,80}$/.test(type.trim()) ? type.trim() : "no content type";
  throw new PipelineError(
    "source-refused",
    `the server answered with ${said}, ${charset.slice(0, 20)}; expected ${media[0]}, UTF-8 (is \`url\` the base of a FHIR server?)`,
  );
}

async function refusal(answer: Answer): Promise<Error> {
  const { status } = answer;
  const outcome = parseOutcome(await answer.text(mostRefusalBytes).catch(() => ""));
  const said = outcome ? `${status}, ${outcome.told}` : String(status);
  const details = { status };
  if (transient.has(status)) {
    const told = `the FHIR server is in trouble or busy (${said}), again and again; run again later`;
    const failure = new PipelineError("source-unreachable", told, { details });
    return new TryAgain(failure, retryAfterMillis(answer.header("retry-after")));
  }
  return new PipelineError(
    "source-refused",
    `the FHIR server refused (${said}); ${advice(status)}`,
    {
      details,
    },
  );
}

function advice(status: number): string {
  if (status === 401 || status === 403) return "check `auth` and what its client may read";
  if (status === 404 || status === 410)
    return "check `url` and that what is asked for exists there";
  return "check that the server takes what is asked for";
}

const tooManyRedirects = (method: string) =>
  new PipelineError(
    "source-refused",
    method === "GET"
      ? `the server redirects more than ${mostRedirects} times`
      : `the server redirects a ${method}; expected its answer (is \`url\` the final address?)`,
  );

/** The bench on which a look at an S3 store works: it sends requests, knows what they made, and takes it away again. */
import { refusalOf, type Refusal } from "./http-dialect.ts";
import type { HttpAnswer, HttpConnection, HttpRequest } from "./http-exchange.ts";
import { probeName } from "./probe-name.ts";
import { persist } from "./retry.ts";
import { listingOf } from "./s3-answers.ts";
import { s3Dialect } from "./s3-dialect.ts";
import type { S3Target } from "./s3-target.ts";
import { probePatience } from "./store-probe.ts";

const removeMillis = 5000;
export const listingBytesAtMost = 2 ** 20;

/** What the questions to one store share. */
export interface Bench {
  /** Names of this probe alone. */
  readonly stem: string;
  /** Sends a request; what it made is remembered. */
  send(request: HttpRequest): Promise<HttpAnswer>;
  /** The first names that begin with this one, or why the store does not say. */
  list(name: string, most?: number): Promise<readonly string[] | Refusal>;
}

export interface Made {
  readonly name: string;
  readonly versionId?: string;
}

export function openBench(
  connection: HttpConnection,
  target: S3Target,
  probe: {
    readonly made: Map<string, Made>;
    readonly signal: AbortSignal;
    readonly folder: string;
  },
): Bench {
  const { made, signal, folder } = probe;
  const send = async (request: HttpRequest) => {
    const { name, method } = request;
    const known = name === undefined || made.has(name);
    // Whether it was stored is not known when the answer is lost.
    if (method === "PUT" && name !== undefined) made.set(name, { name });
    let attempts = 0;
    const attempt = () => {
      attempts += 1;
      return connection.send(request, signal);
    };
    const answer = await persist(attempt, signal, probePatience);
    const versionId = answer.header("x-amz-version-id");
    const isRefused = answer.status >= 400 && attempts === 1;
    if (name === undefined || method === "GET") return answer;
    if (isRefused && !known) made.delete(name);
    if (isRefused || versionId === undefined || versionId === "null") return answer;
    made.delete(name);
    made.set(`${name} ${versionId}`, { name, versionId });
    return answer;
  };
  return {
    stem: probeName(folder),
    send,
    async list(name, most = 2) {
      const prefix = target.keyPrefix + name;
      const query = { "list-type": "2", "encoding-type": "url", "max-keys": `${most}`, prefix };
      const answer = await send({ method: "GET", query });
      if (answer.status !== 200) return refusalOf(s3Dialect, answer);
      const { objects } = listingOf(await answer.text(listingBytesAtMost));
      return objects.map(({ key }) => key.slice(target.keyPrefix.length));
    },
  };
}

/** Deletes what was made, with time of its own: the caller may be leaving. Gives what could not be deleted. */
export async function removeMade(
  connection: HttpConnection,
  made: ReadonlyMap<string, Made>,
): Promise<readonly string[]> {
  const signal = AbortSignal.timeout(removeMillis);
  const left = new Set<string>();
  for (const { name, versionId } of made.values()) {
    const query = versionId === undefined ? {} : { query: { versionId } };
    const request: HttpRequest = { method: "DELETE", name, ...query };
    const gone = await persist(() => connection.send(request, signal), signal, probePatience).then(
      (answer) => {
        answer.drop();
        return answer.status < 300 || answer.status === 404;
      },
      () => false,
    );
    if (!gone) left.add(name);
  }
  return [...left];
}

/**
 * What `doctor` asks of an S3 store: is it there, what may we do, and what does it do when it should say no.
 *
 * To see that, two small objects with random names are stored below the pipeline's folder, beside its runs; each
 * version made is deleted at once, also after a failure or Ctrl-C. Where deleting is not allowed nothing is stored.
 */
import { PipelineError } from "../../errors.ts";
import { doubt, fault, good, type Finding } from "../finding.ts";
import type { ProbeDestination } from "./destination.ts";
import { failureOf, refusalOf, type Refusal } from "./http-dialect.ts";
import type { HttpAnswer, HttpConnection, HttpRequest } from "./http-exchange.ts";
import { isLeftover, probeName } from "./probe-name.ts";
import { TryAgain, persist } from "./retry.ts";
import { listingOf } from "./s3-answers.ts";
import { s3Dialect } from "./s3-dialect.ts";
import { connect } from "./s3-request.ts";
import { probeWrites } from "./s3-write-probe.ts";
import { targetOf, type S3Target } from "./s3-target.ts";
import { describeWay, probePatience } from "./store-probe.ts";

const requestMillis = 5000;
const removeMillis = 5000;
const listingBytesAtMost = 2 ** 20;
/** S3 refuses requests whose clock is a quarter of an hour off. */
const skewMillis = 60_000;

/** What the questions to one store share. */
export interface Bench {
  /** Names of this probe alone. */
  readonly stem: string;
  /** Sends a request; what it made is remembered. */
  send(request: HttpRequest): Promise<HttpAnswer>;
  /** The first names that begin with this one, or why the store does not say. */
  list(name: string, most?: number): Promise<readonly string[] | Refusal>;
}

interface Made {
  readonly name: string;
  readonly versionId?: string;
}

export const probeS3: ProbeDestination = async function* (url, asked) {
  const { signal } = asked;
  let connection: HttpConnection | undefined;
  const made = new Map<string, Made>();
  let left: readonly string[] = [];
  try {
    const target = targetOf(url, asked.s3 ?? {}, process.env);
    connection = connect(target, Math.min(requestMillis, asked.timeoutMillis));
    const bench = openBench(connection, target, { made, signal, folder: asked.folder });
    yield describeCredentials(target);
    yield* describeWay(target.origin);
    yield* probeReading(bench, asked.folder);
    if (yield* mayDelete(bench)) {
      yield* probeWrites(bench);
      await removeLeftovers(bench, connection, asked.folder);
    }
  } catch (error) {
    signal.throwIfAborted();
    yield fault("store", asFailure(error));
  } finally {
    if (connection) left = await remove(connection, made);
    connection?.close();
  }
  if (left.length === 0) return;
  const names = left.join(", ");
  yield doubt("cleaning up", `could not delete ${names}`, "delete it by hand; no run reads it");
};

function openBench(
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

function describeCredentials({ credentials, region }: S3Target): Finding {
  const passing = credentials.sessionToken === undefined ? "" : ", of a session that will expire";
  return good("credentials", `there${passing}; region ${region}`);
}

async function* probeReading(bench: Bench, folder: string): AsyncGenerator<Finding> {
  const asked = Date.now();
  const answer = await bench.send({ method: "HEAD" });
  answer.drop();
  yield good("endpoint", `answers in ${Date.now() - asked} ms`);
  yield* compareClocks(answer.header("date"), asked);
  const listed = await bench.list(`${folder}/`);
  if (!("status" in listed)) yield good("listing", "works");
  else if (listed.status === 403 && listed.code === "AccessDenied")
    yield doubt(
      "listing",
      "not allowed to these credentials",
      "`ls`, `verify` and `restore` need it; a run does not",
    );
  else throw failureOf(s3Dialect, listed, "listing objects");
}

function* compareClocks(date: string | undefined, asked: number): Generator<Finding> {
  const there = Date.parse(date ?? "");
  if (Number.isNaN(there)) return;
  const now = Date.now();
  // Their time is cut to seconds and lies somewhere between question and answer.
  const skew = there < asked - 1000 ? asked - there : there > now ? there - now : 0;
  const seconds = Math.round(skew / 1000);
  if (skew < skewMillis) yield good("clock", "agrees with the store's");
  else
    yield doubt(
      "clock",
      `${seconds} s away from the store's`,
      "requests are refused from 15 minutes on; set this machine's clock",
    );
}

/** Asks by deleting a name nobody has. */
async function* mayDelete(bench: Bench): AsyncGenerator<Finding, boolean> {
  const locked = await bench.send({ method: "GET", query: { "object-lock": "" } });
  const isLocked = (await locked.text(listingBytesAtMost)).includes("ObjectLockEnabled>Enabled");
  const answer = isLocked
    ? undefined
    : await bench.send({ method: "DELETE", name: `${bench.stem}-0` });
  if (answer && (answer.status < 300 || answer.status === 404)) {
    answer.drop();
    return true;
  }
  const refusal = answer && (await refusalOf(s3Dialect, answer));
  if (refusal && refusal.status !== 403 && refusal.status !== 405)
    throw failureOf(s3Dialect, refusal, "asking to delete");
  const why = isLocked ? "the bucket keeps what is written (object lock)" : "may not delete";
  yield doubt(
    "writing",
    `not tried: ${why}, and a trial would stay`,
    "nothing wrong with that; a run finds out with its first page, and is as careful as the store demands",
  );
  return false;
}

const mostLeftovers = 100;

/** A look that was killed could not take its objects back; the next one does, where it may list. */
async function removeLeftovers(
  bench: Bench,
  connection: HttpConnection,
  folder: string,
): Promise<void> {
  const listed = await bench.list(`${folder}/doctor-`, mostLeftovers);
  if ("status" in listed) return;
  const left = listed.filter((name) => isLeftover(name, folder));
  await remove(connection, new Map(left.map((name) => [name, { name }])));
}

/** Deletes what was made, with time of its own: the caller may be leaving. Gives what could not be deleted. */
async function remove(
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

function asFailure(error: unknown): PipelineError {
  if (error instanceof TryAgain) return error.failure;
  if (error instanceof PipelineError) return error;
  throw error;
}

/**
 * What `doctor` asks of an S3 store: is it there, what may we do, and what does it do when it should say no.
 *
 * To see that, two small objects with random names are stored below the pipeline's folder, beside its runs; each
 * version made is deleted at once, also after a failure or Ctrl-C. Where deleting is not allowed nothing is stored.
 */
import { PipelineError } from "../../errors.ts";
import { doubt, fault, good, type Finding } from "../finding.ts";
import type { ProbeDestination } from "./destination.ts";
import { failureOf, refusalOf } from "./http-dialect.ts";
import type { HttpConnection } from "./http-exchange.ts";
import { isLeftover } from "./probe-name.ts";
import { TryAgain } from "./retry.ts";
import { listingBytesAtMost, openBench, removeMade, type Bench, type Made } from "./s3-bench.ts";
import { s3Dialect } from "./s3-dialect.ts";
import { connect } from "./s3-request.ts";
import { probeWrites } from "./s3-write-probe.ts";
import { targetOf, type S3Target } from "./s3-target.ts";
import { describeWay, doubtListing } from "./store-probe.ts";

const requestMillis = 5000;
/** S3 refuses requests whose clock is a quarter of an hour off. */
const skewMillis = 60_000;

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
    if (connection) left = await removeMade(connection, made);
    connection?.close();
  }
  if (left.length === 0) return;
  const names = left.join(", ");
  yield doubt("cleaning up", `could not delete ${names}`, "delete it by hand; no run reads it");
};

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
    yield doubtListing("not allowed to these credentials");
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
  await removeMade(connection, new Map(left.map((name) => [name, { name }])));
}

function asFailure(error: unknown): PipelineError {
  if (error instanceof TryAgain) return error.failure;
  if (error instanceof PipelineError) return error;
  throw error;
}

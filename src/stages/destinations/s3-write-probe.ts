/**
 * The writing half of the S3 probe: what a store does with a name that is taken and with bytes that are damaged.
 * Sends the very requests of a run.
 */
import { createHash, randomBytes } from "node:crypto";
import { PipelineError } from "../../errors.ts";
import { doubt, fault, good, type Finding } from "../finding.ts";
import { type Parcel, type Refusal, failureOf, refusalOf } from "./http-dialect.ts";
import type { HttpAnswer, HttpRequest } from "./http-exchange.ts";
import { parcelOf } from "./http-put.ts";
import type { Bench } from "./s3-bench.ts";
import { s3Dialect } from "./s3-dialect.ts";

const probeBytes = 64;

export async function* probeWrites(bench: Bench): AsyncGenerator<Finding> {
  const name = `${bench.stem}-1`;
  const [bytes, others] = [randomBytes(probeBytes), randomBytes(probeBytes)];
  const parcel = await parcelFor(name, bytes);
  const { answer, conditional } = await store(bench, parcel.request);
  yield good("writing", "works");
  yield compareClaim(answer, parcel);
  yield* probeOverwriting(bench, (await parcelFor(name, others)).request, conditional);
  yield* probeCopy(bench, name, [bytes, others]);
  yield* probeNames(bench, name);
  const damaged = await parcelFor(`${bench.stem}-2`, bytes);
  yield* probeDamage(bench, { ...damaged.request, body: others });
}

const parcelFor = (name: string, bytes: Buffer): Promise<Parcel> =>
  parcelOf(s3Dialect, { name, bytes, sha256: createHash("sha256").update(bytes).digest() });

/** Stores an object, without the condition where the store has none; tells whether it has. */
async function store(
  bench: Bench,
  request: HttpRequest,
): Promise<{ readonly answer: HttpAnswer; readonly conditional: boolean }> {
  const answer = await bench.send(request);
  // A 200 may hold an error.
  const refusal = await refusalOf(s3Dialect, answer);
  if (refusal.status === 200 && refusal.code === "") return { answer, conditional: true };
  const headers: Record<string, string> = { ...request.headers };
  if (!s3Dialect.lacksConditions(refusal) || headers["if-none-match"] === undefined)
    throw failureOf(s3Dialect, refusal, "storing an object");
  delete headers["if-none-match"];
  return { ...(await store(bench, { ...request, headers })), conditional: false };
}

const readBack = "every page is read back after it was stored: twice the traffic";

/** What the answer to a put says of the bytes. */
function compareClaim(answer: HttpAnswer, parcel: Parcel): Finding {
  const claim = s3Dialect.claimOf(answer, parcel);
  const tag = answer.header("etag");
  const md5 = parcel.request.headers?.["content-md5"];
  const isMd5 = Buffer.from(tag?.replaceAll('"', "") ?? "", "hex").toString("base64") === md5;
  if (claim === "right")
    return good(
      "ETag",
      isMd5 ? "is the MD5 of what is stored" : "is the store's own; it repeats the checksum",
    );
  if (claim === "wrong")
    return doubt("ETag", "or checksum names other bytes than were sent", readBack);
  const what = tag === undefined ? "is missing" : "is the store's own";
  return doubt("ETag", `${what}, and no checksum is repeated`, readBack);
}

/** A second writer's put: the name is taken, by other bytes. */
async function* probeOverwriting(
  bench: Bench,
  request: HttpRequest,
  conditional: boolean,
): AsyncGenerator<Finding> {
  const answer = conditional ? await bench.send(request) : undefined;
  if (answer && answer.status !== 200) {
    const refusal = await refusalOf(s3Dialect, answer);
    if (refusal.status !== 412)
      throw failureOf(s3Dialect, refusal, "asking for conditional writes");
    yield good("no overwriting", "a taken name is refused (`If-None-Match: *`)");
    return;
  }
  answer?.drop();
  yield doubt(
    "no overwriting",
    `the store ${answer ? "ignores" : "refuses"} \`If-None-Match: *\``,
    "each put is preceded by a question (HEAD), and what others overwrite in between is found by `verify` only; " +
      "let no one else write below this folder",
  );
}

/** Read after write, in whole and in part, and the listing. */
async function* probeCopy(
  bench: Bench,
  name: string,
  wanted: readonly Buffer[],
): AsyncGenerator<Finding> {
  const answer = await bench.send({ method: "GET", name });
  const found = answer.status === 200 ? Buffer.from(await readAll(answer.pieces())) : undefined;
  if (!found) yield describeUnread(await refusalOf(s3Dialect, answer));
  else if (!wanted.some((bytes) => bytes.equals(found)))
    yield fault(
      "reading back",
      new PipelineError(
        "destination-failed",
        "gives other bytes than were stored; nothing from here can be trusted, use another store",
      ),
    );
  else {
    yield good("reading back", "gives at once what was stored");
    yield* probePart(bench, name, { tag: answer.header("etag"), found });
  }
  const listed = await bench.list(name);
  // Listing that is not allowed was told already.
  if ("status" in listed || listed.length > 0) return;
  yield doubt(
    "listing",
    "does not show what was just stored",
    "a run reads the pages that are missing there before it commits; `verify` and `ls` may miss new objects: wait before you verify",
  );
}

function describeUnread({ status, code }: Refusal): Finding {
  const what = `what was just stored is answered with ${status} ${code}`.trimEnd();
  if (status === 404)
    return doubt(
      "reading back",
      what,
      "the store shows objects late: a run asks again for some seconds, then stops, and goes on when it is run again",
    );
  return fault(
    "reading back",
    new PipelineError(
      "destination-refused",
      `${what}; a run reads its manifest back before it counts as committed: give it the right to read objects`,
    ),
  );
}

/** Whether a read that breaks off can go on where it was. */
async function* probePart(
  bench: Bench,
  name: string,
  { tag, found }: { readonly tag: string | undefined; readonly found: Buffer },
): AsyncGenerator<Finding> {
  const half = probeBytes / 2;
  const headers = { range: `bytes=${half}-`, ...(tag !== undefined && { "if-match": tag }) };
  const answer = await bench.send({ method: "GET", name, headers });
  const isPart = answer.status === 206 && tag !== undefined;
  const part = isPart ? Buffer.from(await readAll(answer.pieces())) : undefined;
  if (!part) answer.drop();
  const isRest = part?.equals(found.subarray(half)) ?? false;
  yield isRest
    ? good("reading on", "gives the rest of an object")
    : doubt(
        "reading on",
        "does not give the rest of an object (`Range`, `If-Match`)",
        "a read that breaks off is not taken up where it was: `restore` and `verify` begin again",
      );
}

/** A store may be a file system that does not tell large letters from small ones. */
async function* probeNames(bench: Bench, name: string): AsyncGenerator<Finding> {
  const answer = await bench.send({ method: "HEAD", name: name.toUpperCase() });
  answer.drop();
  if (answer.status !== 200) return;
  yield doubt(
    "names",
    "that differ in case alone are one name there",
    "pipelines whose names differ in case alone would meet: nothing is overwritten, but the second is refused",
  );
}

async function readAll(pieces: AsyncIterable<Uint8Array>): Promise<Uint8Array> {
  return Buffer.concat(await Array.fromAsync(pieces));
}

/** Bytes that changed on the way: the digests speak of others. */
async function* probeDamage(bench: Bench, request: HttpRequest): AsyncGenerator<Finding> {
  const answer = await bench.send(request);
  if (answer.status !== 200) {
    const { status, code } = await refusalOf(s3Dialect, answer);
    yield good("digests", `damaged bytes are refused (${code || status})`);
    return;
  }
  answer.drop();
  yield doubt(
    "digests",
    "the store takes bytes that do not match the digests sent with them",
    "damage on the way is found by the ETag, where that is an MD5, else by `verify` only; reach it over https:",
  );
}

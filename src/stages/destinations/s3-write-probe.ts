/**
 * The writing half of the S3 probe: what a store does with a name that is taken and with bytes that are damaged.
 * Sends the very requests of a run.
 */
import { createHash, randomBytes } from "node:crypto";
import { doubt, good, type Finding } from "../finding.ts";
import type { Bench } from "./s3-probe.ts";
import { failureOf, refusalOf } from "./s3-answers.ts";
import { lacksConditions, parcelOf } from "./s3-put.ts";
import type { S3Request } from "./s3-request.ts";

const probeBytes = 64;

export async function* probeWrites(bench: Bench): AsyncGenerator<Finding> {
  const name = `${bench.stem}-1`;
  const [bytes, others] = [randomBytes(probeBytes), randomBytes(probeBytes)];
  const conditional = await store(bench, putOf(name, bytes));
  yield good("writing", "works");
  yield* probeOverwriting(bench, putOf(name, others), conditional);
  yield* probeCopy(bench, name, [bytes, others]);
  yield* probeDamage(bench, { ...putOf(`${bench.stem}-2`, bytes), body: others });
}

const putOf = (name: string, bytes: Buffer): S3Request =>
  parcelOf({ name, bytes, sha256: createHash("sha256").update(bytes).digest() }).request;

/** Stores an object, without the condition where the store has none; tells whether it has. */
async function store(bench: Bench, request: S3Request): Promise<boolean> {
  const answer = await bench.send(request);
  const refusal = answer.status === 200 ? undefined : await refusalOf(answer);
  if (!refusal) {
    answer.drop();
    return true;
  }
  const headers: Record<string, string> = { ...request.headers };
  if (!lacksConditions(refusal) || headers["if-none-match"] === undefined)
    throw failureOf(refusal, "storing an object");
  delete headers["if-none-match"];
  await store(bench, { ...request, headers });
  return false;
}

/** A second writer's put: the name is taken, by other bytes. */
async function* probeOverwriting(
  bench: Bench,
  request: S3Request,
  conditional: boolean,
): AsyncGenerator<Finding> {
  const answer = conditional ? await bench.send(request) : undefined;
  if (answer && answer.status !== 200) {
    const refusal = await refusalOf(answer);
    if (refusal.status !== 412) throw failureOf(refusal, "asking for conditional writes");
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

/** Read after write, the ETag, and the listing. */
async function* probeCopy(
  bench: Bench,
  name: string,
  wanted: readonly Buffer[],
): AsyncGenerator<Finding> {
  const answer = await bench.send({ method: "GET", name });
  const found = answer.status === 200 ? Buffer.from(await readAll(answer.pieces())) : undefined;
  if (!found) {
    const { status, code } = await refusalOf(answer);
    yield doubt(
      "reading back",
      `what was just stored is answered with ${status} ${code}`,
      "after a lost answer a run cannot tell whether a page arrived, and stops; give it the right to read objects",
    );
  } else if (!wanted.some((bytes) => bytes.equals(found)))
    yield doubt(
      "reading back",
      "gives other bytes than were stored",
      "nothing read from here can be trusted; use another store",
    );
  else {
    yield good("reading back", "gives at once what was stored");
    yield* compareTag(answer.header("etag"), found);
  }
  const listed = await bench.list(name);
  // Listing that is not allowed was told already.
  if ("status" in listed || listed.length > 0) return;
  yield doubt(
    "listing",
    "does not show what was just stored",
    "`verify` and `ls` may miss new objects for a while; wait before you verify",
  );
}

function* compareTag(tag: string | undefined, found: Buffer): Generator<Finding> {
  const md5 = createHash("md5").update(found).digest("hex");
  if (tag?.replaceAll('"', "").toLowerCase() === md5)
    yield good("ETag", "is the MD5 of what is stored");
  else if (tag === undefined)
    yield doubt(
      "ETag",
      "is missing",
      "every page is read back after it was stored: twice the traffic",
    );
  else yield good("ETag", "is the store's own; that pages arrive whole rests on the digests sent");
}

async function readAll(pieces: AsyncIterable<Uint8Array>): Promise<Uint8Array> {
  return Buffer.concat(await Array.fromAsync(pieces));
}

/** Bytes that changed on the way: the digests speak of others. */
async function* probeDamage(bench: Bench, request: S3Request): AsyncGenerator<Finding> {
  const answer = await bench.send(request);
  if (answer.status !== 200) {
    const { status, code } = await refusalOf(answer);
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

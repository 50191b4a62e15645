/**
 * The writing half of destination `s3:`: one PUT for each object, and no doubt about what it left behind.
 *
 * `If-None-Match: *` keeps objects from being overwritten. Stores exist that refuse the header and stores that ignore
 * it, so the first put of a session is repeated to see: a store that does not answer 412 is asked (HEAD) before
 * every put from then on.
 */
import { createHash } from "node:crypto";
import { PipelineError } from "../../errors.ts";
import type { StoredObject } from "./destination.ts";
import { segmentsOf } from "./object-names.ts";
import { TryAgain, persist, retryAfterMillis } from "./retry.ts";
import { type Refusal, errorBytesAtMost, errorCodeOf, failureOf, refusalOf } from "./s3-answers.ts";
import { type Session, getOnce } from "./s3-read.ts";
import type { S3Answer, S3Request } from "./s3-request.ts";

/** An object on its way: its digests in the spellings that requests and answers use. */
export interface Parcel {
  readonly name: string;
  readonly bytes: number;
  readonly md5: Buffer;
  readonly sha256: string;
  /** The same in base64, as the store repeats it. */
  readonly checksum: string;
  readonly request: S3Request;
}

/** Stores an object, however often that takes within the session's patience. */
export async function put(
  session: Session,
  object: StoredObject,
  signal: AbortSignal,
): Promise<void> {
  segmentsOf(object.name);
  const parcel = parcelOf(object);
  await persist(() => putOnce(session, parcel, signal), signal, session.policy);
  if (session.conditional === undefined) await probe(session, parcel, signal);
}

export function parcelOf({ name, bytes, sha256, traceparent }: StoredObject): Parcel {
  const md5 = createHash("md5").update(bytes).digest();
  const digest = Buffer.from(sha256);
  const checksum = digest.toString("base64");
  const headers = {
    "content-length": String(bytes.length),
    "content-md5": md5.toString("base64"),
    "content-type": "application/octet-stream",
    "if-none-match": "*",
    "x-amz-checksum-sha256": checksum,
    "x-amz-content-sha256": digest.toString("hex"),
    "x-amz-meta-sha256": digest.toString("hex"),
    ...(traceparent === undefined ? {} : { "x-amz-meta-traceparent": traceparent }),
  };
  const request: S3Request = { method: "PUT", name, body: bytes, headers };
  return { name, bytes: bytes.length, md5, sha256: digest.toString("hex"), checksum, request };
}

async function putOnce(session: Session, parcel: Parcel, signal: AbortSignal): Promise<void> {
  if (session.conditional !== true && (await isThere(session, parcel, signal))) return;
  const isGuarded = session.conditional !== false;
  const request = isGuarded ? parcel.request : unguarded(parcel.request);
  const answer = await session.connection.send(request, signal);
  if (answer.status === 200) return checkStored(session, parcel, answer, signal);
  const refusal = await refusalOf(answer);
  if (refusal.status === 412) return settleTaken(session, parcel, signal);
  // Others may have found out while this one was on its way.
  if (isGuarded && lacksConditions(refusal)) {
    session.conditional = false;
    return putOnce(session, parcel, signal);
  }
  throw failureOf(refusal, "storing an object");
}

/** Asks before a put that the store may not guard. */
async function isThere(session: Session, parcel: Parcel, signal: AbortSignal): Promise<boolean> {
  const found = await compare(session, parcel, signal);
  if (found === "different") throw foreign(parcel.name);
  // Credentials that may only write are fine where the store guards names itself; the put will show.
  if (found === "hidden" && session.conditional === false) throw hidden();
  return found === "equal";
}

function unguarded(request: S3Request): S3Request {
  const { "if-none-match": _, ...headers } = request.headers ?? {};
  return { ...request, headers };
}

export function lacksConditions({ status, code }: Refusal): boolean {
  return status === 501 || (status === 400 && code === "NotImplemented");
}

/** The name was taken, perhaps by an earlier attempt of ours whose answer was lost. */
async function settleTaken(session: Session, parcel: Parcel, signal: AbortSignal): Promise<void> {
  const found = await compare(session, parcel, signal);
  if (found === "different") throw foreign(parcel.name);
  if (found === "hidden") throw hidden();
  if (found === "missing") throw new TryAgain(contradiction("was both taken and missing"));
}

/** Success is a 200 with nothing to say but the right digest; whatever else came with it must be read back. */
async function checkStored(
  session: Session,
  parcel: Parcel,
  answer: S3Answer,
  signal: AbortSignal,
): Promise<void> {
  const body = await answer.text(errorBytesAtMost);
  const spoken = errorCodeOf(body) !== "" || body.includes("<Error");
  if (!spoken && claimOf(answer, parcel) === "right") return;
  const found = await compare(session, parcel, signal);
  if (found === "hidden") throw hidden();
  if (found === "missing")
    throw new TryAgain(contradiction("was answered with 200 but not stored"));
  if (found === "different") throw contradiction("was stored with other bytes than were sent");
}

/**
 * What a store says of the bytes it has. An ETag is their MD5 except under KMS or customer keys, or where a store makes
 * its own; stores that know checksums repeat the one they were sent.
 */
export function claimOf(answer: S3Answer, { md5, checksum }: Parcel): "right" | "wrong" | "none" {
  const tag = /^"?([0-9a-f]{32})"?$/i.exec(answer.header("etag") ?? "")?.[1];
  const encrypted =
    answer.header("x-amz-server-side-encryption")?.startsWith("aws:kms") ||
    answer.header("x-amz-server-side-encryption-customer-algorithm") !== undefined;
  const repeated = answer.header("x-amz-checksum-sha256");
  if (repeated !== undefined && repeated !== checksum) return "wrong";
  if (tag !== undefined && !encrypted)
    return tag.toLowerCase() === md5.toString("hex") ? "right" : "wrong";
  return repeated === undefined ? "none" : "right";
}

/** What lies under the name. Claims (length, digest, ETag) suffice when they agree; else the bytes are read. */
async function compare(
  session: Session,
  parcel: Parcel,
  signal: AbortSignal,
): Promise<"equal" | "different" | "missing" | "hidden"> {
  const headers = { "x-amz-checksum-mode": "ENABLED" };
  const answer = await session.connection.send(
    { method: "HEAD", name: parcel.name, headers },
    signal,
  );
  answer.drop();
  if (answer.status === 404) return "missing";
  if (answer.status === 403) return "hidden";
  if (answer.status !== 200) {
    // An answer to HEAD has no body that could hold a code.
    const waitMillis = retryAfterMillis(answer.header("retry-after"));
    throw failureOf({ status: answer.status, code: "", waitMillis }, "asking for an object");
  }
  if (answer.header("content-length") !== String(parcel.bytes)) return "different";
  const claimed = answer.header("x-amz-meta-sha256")?.toLowerCase();
  if (claimed !== undefined && claimed !== parcel.sha256) return "different";
  if (claimed === parcel.sha256 && claimOf(answer, parcel) === "right") return "equal";
  const hash = createHash("sha256");
  for await (const piece of getOnce(session, parcel.name, signal)) hash.update(piece);
  return hash.digest("hex") === parcel.sha256 ? "equal" : "different";
}

/** Repeats a put that succeeded: a store that honours conditions must refuse it; another has stored it anew. */
async function probe(session: Session, parcel: Parcel, signal: AbortSignal): Promise<void> {
  const ask = async () => {
    const answer = await session.connection.send(parcel.request, signal);
    if (answer.status === 200) {
      await checkStored(session, parcel, answer, signal);
      return false;
    }
    const refusal = await refusalOf(answer);
    if (refusal.status === 412) return true;
    if (lacksConditions(refusal)) return false;
    throw failureOf(refusal, "asking for conditional writes");
  };
  session.conditional = await persist(ask, signal, session.policy);
}

function contradiction(what: string): PipelineError {
  return new PipelineError(
    "destination-failed",
    `an object ${what}; the store cannot be relied on`,
  );
}

function foreign(name: string): PipelineError {
  return new PipelineError(
    "foreign-object",
    `${name} is taken by other bytes at the destination; nothing was overwritten`,
    { details: { name } },
  );
}

function hidden(): PipelineError {
  return new PipelineError(
    "destination-refused",
    "the store does not say what lies under a name (403); expected credentials that may read objects",
    { details: { status: 403 } },
  );
}
